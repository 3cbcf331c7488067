"""The command `draw`: finds an architecture by file, folder or search, and writes its drawing."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from autokd.cli.output import Output, picture_format, show_json, write_picture
from autokd.errors import InputError
from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture
from search_spaces.drawing.picture import FORMATS, render
from search_spaces.errors import SpaceError

if TYPE_CHECKING:
    from autokd.searches.result import SearchResult

__all__ = ["draw"]


def draw(what: str, out: Path, trial: int | None, engine: str | None, output: Output, home: Path | None) -> None:
    """Write the drawing of an architecture, and print what was written.

    Args:
        what: File, exported folder, or name of a search, for its best student.
        out: File to write; its suffix determines the format.
        trial: Number of a trial whose student is drawn; `what` is then the name of its search.
        engine: Layout engine; by default the first one that is installed.
        output: What to print.
        home: Folder of all searches; the default one if None.

    Raises:
        InputError: If there is no such architecture, or the file cannot be written.
    """
    form = picture_format(out, FORMATS)
    architecture = _find(what, trial, home)
    try:
        write_picture(out, render(architecture, form, engine))
    except SpaceError as error:
        raise InputError(str(error)) from None
    _say(architecture, out, output)


def _find(what: str, trial: int | None, home: Path | None) -> Architecture:
    path = Path(what)
    file = path / "architecture.json" if os.path.isdir(path) else path
    if trial is None and os.path.isfile(file):
        return _read(file)
    if trial is None and (path.suffix == ".json" or len(path.parts) > 1):
        raise InputError(f"there is no file {file}.")
    from autokd.searches.api import find  # loads torch

    try:
        result = find(what, home)
    except InputError as error:
        raise InputError(f"{what} is no file, no exported folder and no search: {error}") from None
    return result.best.architecture if trial is None else _student_of(result, trial)


def _read(file: Path) -> Architecture:
    try:
        return Architecture.from_json(file.read_bytes())
    except SpaceError as error:
        raise InputError(f"{file}: {error}") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.") from None


def _student_of(result: "SearchResult", number: int) -> Architecture:
    """The best student of a trial, or the first one drawn if none has been trained."""
    drawn = result.trial(number).students
    trained = [student.row for student in result.students if student.trial.number == number]
    for row in [*trained, *drawn]:
        return Architecture.from_dict(dict(row.architecture))
    raise InputError(f"trial {number} of search {result.name!r} has no student.")


def _say(architecture: Architecture, out: Path, output: Output) -> None:
    nodes, total = len(architecture.nodes), cost(architecture)
    if output == "text":
        typer.echo(f"wrote {out}: {nodes} nodes, {total.params:,} parameters, {total.macs:,} MACs")
        return
    facts = {"file": str(out), "digest": architecture.digest, "nodes": nodes, "params": total.params}
    show_json(facts | {"macs": total.macs, "memory_bytes": total.memory_bytes})
