"""Run notebooks from top to bottom, and write them with outputs that read the same wherever they were made.

    python notebooks/execute.py              # all of this folder
    python notebooks/execute.py NOTEBOOK ...

Each runs in an empty temporary folder with one thread. What differs from run to run (timings, the version of Python) is
not written; a digest of the code is, so that a test notices code that was changed without being run again.
"""

import asyncio
import hashlib
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# Optuna's progress bar warns where ipywidgets is not installed, with the path of the file that warns.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore:IProgress not found"}
TIMEOUT = 300  # seconds for one cell


def main(paths: list[Path]) -> None:
    """Run each notebook and write it in place."""
    for path in paths:
        print(path.name, flush=True)
        notebook = execute(nbformat.read(path, nbformat.NO_CONVERT))
        notebook.metadata = nbformat.from_dict({**METADATA, "autokd": {"code": code_digest(notebook)}})
        nbformat.write(notebook, path)


def execute(notebook: NotebookNode, parameters: Mapping[str, Any] | None = None) -> NotebookNode:
    """The notebook with the outputs of a run.

    Args:
        notebook: It is changed in place.
        parameters: Values for names that its first code cell sets, in place of those there.

    Raises:
        CellExecutionError: If a cell fails.
    """
    first = code_cells(notebook)[0]
    source = first.source
    first.source += "".join(f"\n{name} = {value!r}" for name, value in (parameters or {}).items())
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        options = {"timeout": TIMEOUT, "record_timing": False, "coalesce_streams": True}
        client = NotebookClient(notebook, resources=resources, **options)
        manager = client.create_kernel_manager()
        manager.transport, manager.ip = "ipc", f"{folder}/kernel"  # no ports, which other programs could take
        asyncio.run(client.async_execute(env=os.environ | ENVIRONMENT))
    first.source = source
    return notebook


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells with code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def code_digest(notebook: NotebookNode) -> str:
    """Digest of the code of all cells."""
    return hashlib.sha256("\0".join(cell.source for cell in code_cells(notebook)).encode()).hexdigest()


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb")))
