"""The notebooks run from top to bottom, and their recorded outputs are of the code that is there."""

import re
import runpy
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode

FOLDER = Path(__file__).parents[2] / "notebooks"
SCRIPT = runpy.run_path(str(FOLDER / "execute.py"))
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
SMALL: dict[str, dict[str, Any]] = {
    "01_first_search": {"TRIALS": 2, "RUNGS": [1, 2], "FINAL_EPOCHS": 2, "WORKERS": 1},
    "02_own_teacher_and_data": {"TEACHER_EPOCHS": 3, "TRIALS": 1, "MORE_TRIALS": 2, "RUNGS": [1], "WORKERS": 1},
    "03_search_spaces": {"FAMILIES": 2},
    "04_distillation_methods": {"SEEDS": 2, "EPOCHS": 1, "TEACHER_EPOCHS": 2},
    "05_optimiser": {"SEEDS": 2, "TRIALS": 12, "CONSTRAINED_TRIALS": 8},
}
MOST_BYTES = 400_000
LONGEST_LINE = 110  # more is cut off or scrolls on the web
PATHS = re.compile(r"(?<![\w.:/<])/(?:home|media|mnt|opt|private|root|tmp|Users|usr|var|work)/|\b[A-Z]:\\")


def read(name: str) -> NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", nbformat.NO_CONVERT)


def texts(cell: NotebookNode) -> list[str]:
    """The outputs of a cell that are text."""
    return [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]


@pytest.mark.slow  # kernels, worker processes, trainings
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_from_top_to_bottom(name: str) -> None:
    notebook = SCRIPT["execute"](read(name), SMALL[name])
    for cell in SCRIPT["code_cells"](notebook):
        assert not [output for output in cell.outputs if output.get("name") == "stderr"], cell.source


def test_small_settings_replace_what_the_first_cell_sets() -> None:
    for name, small in SMALL.items():
        first = SCRIPT["code_cells"](read(name))[0]
        assert {line.partition(" = ")[0] for line in first.source.splitlines()} >= set(small)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_recorded_outputs_are_of_one_run_of_this_code(name: str) -> None:
    notebook = read(name)
    cells = SCRIPT["code_cells"](notebook)
    assert notebook.metadata["autokd"]["code"] == SCRIPT["code_digest"](notebook), "run `make notebooks`"
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_reads_well_and_tells_nothing_of_the_machine(name: str) -> None:
    assert (FOLDER / f"{name}.ipynb").stat().st_size < MOST_BYTES
    for cell in read(name).cells:
        is_code = cell.cell_type == "code"
        written = "\n".join([cell.source, *(texts(cell) if is_code else [])])
        assert not PATHS.search(written), f"a path of a machine in: {written}"
        assert not is_code or max(map(len, cell.source.splitlines())) <= LONGEST_LINE, cell.source


@pytest.mark.parametrize("text", ["see /tmp/tmpab12/x.py:3", "in '/root/.venv/lib'", "C:\\Users"])
def test_paths_of_a_machine_are_found(text: str) -> None:
    assert PATHS.search(text)
