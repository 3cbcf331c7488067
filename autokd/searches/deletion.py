"""The deletion of a search: its rows, its files, and the outputs and pruned teachers that no other search uses.

Files at a URL go first, as only the rows know it. Then the rows go, and in the same transaction the folders are
recorded as leftovers. A kill in between leaves folders that the database knows as nobody's, and the next
`finish_deletions` removes them.
"""

import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autokd.config.parsing import recorded_config
from autokd.core.depot import Depot
from autokd.core.files import files_in
from autokd.database.lease_keeper import StopRequest, owning
from autokd.database.reading import Reader
from autokd.database.removal import delete_rows, forget_leftover, leftovers
from autokd.database.rows import SearchRow
from autokd.database.store import Store
from autokd.errors import AutoKDError, DepotError, first_line
from autokd.evaluation.remote import depot_of
from autokd.searches.problem import DAMAGED, Problem, recorded_problem
from autokd.searches.workspace import Workspace

__all__ = [
    "Belongings",
    "belongings",
    "bytes_in",
    "delete_search",
    "finish_deletions",
    "leftover_folders",
    "recorded_depot",
]


@dataclass(frozen=True)
class Belongings:
    """What is deleted with a search.

    Attributes:
        search: Name of the search.
        trials: Number of its trials.
        folders: Its files, its export by the service, and the teachers' outputs and pruned teachers that no other
            search uses.
        bytes: Size of the files in these folders.
        depot: Where else they are.
        kept: Outputs and pruned teachers that others use, or may use; the last of these takes them along.
    """

    search: str
    trials: int
    folders: tuple[Path, ...]
    bytes: int
    depot: Depot | None = None
    kept: tuple[Path, ...] = ()


def belongings(workspace: Workspace, name: str) -> Belongings:
    """What `delete_search` deletes.

    Raises:
        InputError: If there is no such search.
    """
    with workspace.open() as store:
        row = store.search(name)
        others = [other for other in store.searches() if other.id != row.id]
        n_trials = store.n_trials(row.id)
    outputs = set[Path]()
    files, *exported = workspace.own_folders(row.name)
    with suppress(*DAMAGED):  # such a row tells nothing, but can be deleted
        outputs = _outputs(workspace, [row])
    try:
        shared = outputs & _outputs(workspace, others)
    except DAMAGED:  # such a search may use any of them
        shared = outputs
    depot = recorded_depot(workspace, row)
    folders = tuple(folder for folder in (files, *sorted(outputs - shared)) if depot or folder.is_dir())
    folders += tuple(folder for folder in exported if folder.is_dir())
    kept = tuple(folder for folder in sorted(shared) if folder.is_dir())
    return Belongings(row.name, n_trials, folders, sum(map(bytes_in, folders)), depot, kept)


def delete_search(workspace: Workspace, name: str) -> Belongings:
    """Delete the rows of a search in one transaction, then its files, and return what that was.

    Raises:
        InputError: If there is no such search, or a controller runs it.
        AutoKDError: If files of it cannot be deleted, here or at a URL; its rows are deleted by then.
    """
    deleted = belongings(workspace, name)
    with workspace.open() as store:
        folders, kept, own = (
            [str(folder.relative_to(workspace.folder)) for folder in each]
            for each in (deleted.folders, deleted.kept, workspace.own_folders(name))
        )
        with owning(store, name, StopRequest()) as lease:
            failure = _emptied(deleted.depot, deleted.folders)
            delete_rows(store, lease, {*folders, *kept, *own})  # an export may only now be put in place
        try:
            finish_deletions(workspace, store)
        except OSError as error:
            raise AutoKDError(
                f"search {name!r} is deleted, but its file {error.filename} cannot be: {error.strerror}; once it can, "
                f"`autokd gc{workspace.option}` removes it."
            ) from None
    if deleted.depot is not None and failure is not None:
        places = " and ".join(f"{deleted.depot.url}/{folder}" for folder in folders)
        raise AutoKDError(f"search {name!r} is deleted, but not all of its files: {failure}; remove {places} by hand.")
    return deleted


def recorded_depot(workspace: Workspace, row: SearchRow) -> Depot | None:
    """The files of a search at a URL; None if it has none, or its configuration cannot be read."""
    try:
        return depot_of(recorded_config(dict(row.config), f"search {row.name}").workers.files, workspace.folder)
    except DAMAGED:
        return None


def leftover_folders(workspace: Workspace, store: Reader) -> list[Path]:
    """Folders of deleted searches that are still there and that no other search uses."""
    recorded = [workspace.folder / folder for folder in leftovers(store)]
    if not recorded:
        return []
    rows = store.searches()
    used = {folder for row in rows for folder in workspace.own_folders(row.name)}
    try:
        used |= _outputs(workspace, rows)
    except DAMAGED:  # such a search may use any outputs
        used |= {folder for folder in recorded if folder not in workspace.own_folders(folder.name)}
    return [folder for folder in recorded if folder.is_dir() and folder not in used]


def finish_deletions(workspace: Workspace, store: Store) -> None:
    """Remove the folders of deleted searches that no other search uses.

    Raises:
        OSError: If one cannot be removed; it stays recorded.
    """
    for folder in leftover_folders(workspace, store):
        with suppress(FileNotFoundError):  # another process removes it, too
            shutil.rmtree(folder)
    for name in leftovers(store):
        if not (workspace.folder / name).exists():
            forget_leftover(store, name)


def bytes_in(folder: Path) -> int:
    """Size of the files in a folder; one that is removed meanwhile does not count."""
    total = 0
    for file in files_in(folder):
        with suppress(FileNotFoundError):
            total += file.stat().st_size if file.is_file() else 0
    return total


def _emptied(depot: Depot | None, folders: Iterable[Path]) -> str | None:
    """Remove the files of folders at a URL, and return why that failed: a URL that is lost must not keep a search."""
    if depot is None:
        return None
    try:
        for folder in folders:
            depot.clear(folder)
    except DepotError as error:
        return first_line(error)
    return None


def _outputs(workspace: Workspace, rows: Iterable[SearchRow]) -> set[Path]:
    """Folders of the teachers' outputs and pruned teachers that these searches use."""
    problems = (recorded_problem(row, workspace.folder) for row in rows)
    return {folder for problem in problems for folder in _folders(problem)}


def _folders(problem: Problem) -> Iterable[Path]:
    """Folders of a search's teacher outputs, and of its pruned teachers."""
    context = problem.storing_context
    yield from (context.stored(number).folder for number in range(context.n_teachers))
    if problem.pruned is not None:
        yield problem.pruned.folder
