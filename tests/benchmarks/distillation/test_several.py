from collections.abc import Callable
from math import sqrt
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from digits_facts import DIGITS
from lines import read_lines
from marked_pages import between_marks

from autokd.distillation import make_method
from autokd.recipes.catalogue import find_config
from autokd.searches.problem import Problem


@pytest.fixture(scope="module")
def module(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(Path(__file__).with_name("several.py"))


def line(row: str, seed: int, accuracy: float, **more: Any) -> dict[str, Any]:
    measured = {"test_accuracy": accuracy, "test_ece": 0.02, "images": 400.0, "seconds": 2.0, "panel_seconds": 90.0}
    common = {"epochs": 4, "epoch_seconds": 2.0, "teacher_accuracy": 0.94}
    return {"student": 8000, "row": row, "seed": seed} | common | measured | more


LINES = [
    *(line("kd", seed, 0.80 + 0.01 * seed) for seed in range(3)),
    *(line("takd", seed, 0.81 + 0.01 * seed + 0.001 * (seed == 2)) for seed in range(3)),
    line("ces", 0, 0.70),
    line("ces", 1, 0.90),
    {"student": 8000, "row": "ces", "seed": 2, "failure": "it diverged"},
    line("sokd", 0, 0.82, companion0_accuracy=0.945),
    line("takd, 50 k", 0, 0.80, panel_accuracies=[0.9]),
]


def test_methods_can_be_made_and_have_assistants_or_companions_as_they_need(module: ModuleType) -> None:
    made = {name: make_method(row.method, dict(row.settings)) for name, row in module.ROWS.items()}
    with_panel = {name for name, row in module.ROWS.items() if row.assistants}
    assert {name for name, method in made.items() if method.learns_from_panel} == with_panel
    assert with_panel == {*module.SEVERAL, *module.OF_SIZE, "dgkd, drop 0, 4 times as long"}
    assert {name for name, method in made.items() if method.n_companions} == {"dml", "kd+dml", "sokd", "bd-kd-online"}


def test_trainings_are_the_recipes_at_full_length(module: ModuleType) -> None:
    bench, recipe = module.Bench(Path("home"), 26, None), find_config("fashion-mnist", [])
    for assistants in sorted({row.assistants for row in module.ROWS.values()}):
        config = bench._config(3, assistants)
        assert (
            [each.params for each in config.panel.assistants] == [*assistants] if assistants else config.panel is None
        )
        assert (config.seed, config.final.epochs, config.trials) == (3, 26, 1)
        own = {"rungs", "precision"}
        assert config.training.model_dump(exclude=own) == recipe.training.model_dump(exclude=own)


def test_a_longer_training_is_so_in_its_line_and_in_all_that_trains_it(module: ModuleType) -> None:
    bench = module.Bench(Path("home"), 26, None)
    lengths = {name: bench.identity(8000, name, 0)["epochs"] for name in module.ROWS}
    assert {name: length for name, length in lengths.items() if length != 26} == {
        "kd, 4 times as long": 104,
        "dgkd, drop 0, 4 times as long": 104,
    }
    problem = Problem(bench._config(0, ()), DIGITS, Path("home"))
    assert module._lengthened(problem, 4).retraining_context.training.rungs == (104.0,)
    assert module._lengthened(problem, 1).retraining_context == problem.retraining_context


def test_differences_are_taken_seed_by_seed(module: ModuleType) -> None:
    assert module.differences("takd", LINES) == pytest.approx([1.0, 1.0, 1.1])
    assert module.differences("ces", LINES) == pytest.approx([-10, 9])


def test_a_table_says_what_was_measured_and_answers_what_was_asked(module: ModuleType) -> None:
    told = list(module.tables(LINES))
    error = 0.1 / sqrt(3) / sqrt(3)  # the deviation of 1.0, 1.0 and 1.1 is 0.1 / sqrt(3)
    assert f"| takd | 3 | 0 | 82.03 ± 1.05 | +1.03 ± {error:.2f} | 2.00 | 50 | 2 |" in told
    assert [row for row in told if row.startswith("| ces | 2 | 1 | 80.00 ±")] != []
    assert "* With several teachers ahead of KD by more than two standard errors: takd." in told
    assert "* The companion of `sokd` over the teacher on validation, points: +0.50." in told
    assert "* One assistant of: 50 k 80.00 % (assistant 90.00 % on validation)." in told


def test_a_training_that_was_resumed_late_does_not_count_as_fast(module: ModuleType) -> None:
    late = [line("kd", 3, 0.8, epoch_seconds=None, seconds=0.1)]
    assert [row for row in module.tables([*LINES[:3], *late]) if row.startswith("| kd | 4 ") and "| 50 |" in row] != []
    assert [row for row in module.tables(late) if row.endswith("| 2.00 |  | 2 |")] != []


def test_another_configuration_is_another_training_with_assistants_of_another_search(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, recipe = module.Bench(Path("home"), 26, None), module._recipe()
    name, one = bench._config(0, module.PANEL).name, bench.identity(8000, "takd", 0)
    assert bench.has(one)
    assert not bench.has(one | {"row": "gone"})
    changed = recipe | {"training": recipe["training"] | {"learning_rate": 0.01}}
    monkeypatch.setattr(module, "_recipe", lambda: changed)
    assert bench._config(0, module.PANEL).name != name
    assert not bench.has(one)


def test_what_the_file_holds_is_not_trained_again(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def trained(bench: Any, student: int, row: str, seed: int) -> dict[str, Any]:
        return line(row, seed, 0.8) | bench.identity(student, row, seed)

    monkeypatch.setattr(module.Bench, "line", trained)
    words = [str(tmp_path / "lines.jsonl"), "--students", "8000", "--rows", "kd", "takd", "--seeds"]
    module.main([*words, "0"])
    first = capsys.readouterr().out
    assert first.count("seed 0: 0.8") == 2
    module.main([*words, "0"])
    assert capsys.readouterr().out == "".join(first.splitlines(keepends=True)[2:])
    module.main([*words, "0", "1"])
    assert capsys.readouterr().out.count("seed 1: 0.8") == 2


def test_the_page_holds_the_tables_of_the_lines_beside_it(module: ModuleType) -> None:
    page = module.PAGE.read_text()
    assert between_marks(page, module.markdown(list(read_lines(module.PAGE.with_name("several.jsonl"))))) == page
