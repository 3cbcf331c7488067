"""The deletion of a search: its rows, its files, and the outputs and pruned teachers that no other search uses."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from autokd.config.parsing import recorded_config
from autokd.database.lease import acquire
from autokd.database.rows import SearchRow
from autokd.errors import AutoKDError, InputError
from autokd.searches.facts import Facts
from autokd.searches.problem import Problem
from autokd.searches.workspace import Workspace

__all__ = ["Belongings", "belongings", "delete_search"]


@dataclass(frozen=True)
class Belongings:
    """What is deleted with a search.

    Attributes:
        search: Name of the search.
        trials: Number of its trials.
        folders: Its files, and the teachers' outputs and pruned teachers that no other search uses.
        bytes: Size of the files in these folders.
    """

    search: str
    trials: int
    folders: tuple[Path, ...]
    bytes: int


def belongings(workspace: Workspace, name: str) -> Belongings:
    """What `delete_search` deletes.

    Raises:
        InputError: If there is no such search.
    """
    with workspace.open() as store:
        row = store.search(name)
        others = [other for other in store.searches() if other.id != row.id]
        n_trials = len(store.trials(row.id))
    files = workspace.folder / "searches" / row.name
    try:
        outputs = _outputs(workspace, [row]) - _outputs(workspace, others)
    except (InputError, KeyError, TypeError, ValueError):  # a damaged row tells nothing, but can be deleted
        outputs = set()
    folders = tuple(folder for folder in (files, *sorted(outputs)) if folder.is_dir())
    n_bytes = sum(file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file())
    return Belongings(row.name, n_trials, folders, n_bytes)


def delete_search(workspace: Workspace, name: str) -> Belongings:
    """Delete the rows of a search in one transaction, then its files, and return what that was.

    Raises:
        InputError: If there is no such search, or a controller runs it.
        AutoKDError: If its files cannot be deleted; its rows are deleted by then.
    """
    deleted = belongings(workspace, name)
    with workspace.open() as store:
        store.delete_search(acquire(store, name))
    try:
        for folder in deleted.folders:
            shutil.rmtree(folder)
    except OSError as error:
        raise AutoKDError(
            f"search {name!r} is deleted, but its file {error.filename} cannot be: {error.strerror}."
        ) from None
    return deleted


def _outputs(workspace: Workspace, rows: Iterable[SearchRow]) -> set[Path]:
    """Folders of the teachers' outputs and pruned teachers that these searches use."""
    problems = (
        Problem(recorded_config(dict(row.config), f"search {row.name}"), Facts.from_dict(row.facts), workspace.folder)
        for row in rows
    )
    return {folder for problem in problems for folder in _folders(problem)}


def _folders(problem: Problem) -> Iterable[Path]:
    """Folders of a search's teacher outputs, and of its pruned teachers."""
    yield from (problem.context.stored(number).folder for number in range(problem.context.n_teachers))
    if problem.pruned is not None:
        yield problem.pruned.folder
