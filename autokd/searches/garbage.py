"""Files in the folder of all searches that nothing needs any more.

Only files that AutoKD writes are looked at, told by their places and names. Folders of searches that this database does
not know are named and left, since another database may share the folder.
"""

import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autokd.config.parsing import recorded_config
from autokd.core.depot import Depot
from autokd.core.files import UNFINISHED
from autokd.database.lease import is_owned
from autokd.database.reading import Reader
from autokd.database.removal import leftovers
from autokd.database.rows import SearchRow
from autokd.errors import InputError
from autokd.export.replacement import REPLACING
from autokd.searches.deletion import finish_deletions, leftover_folders, recorded_depot
from autokd.searches.problem import DAMAGED, recorded_problem
from autokd.searches.retention import Retention, find_surplus, surplus_of_assistants
from autokd.searches.workspace import Workspace

__all__ = ["Garbage", "collect_garbage", "unknown_folders"]

SHARED = ("teachers", "outputs", "data")  # folders of files that all searches share
UNTOUCHED_SECONDS = 3600.0
"""Time without a change after which nobody is taken to be still writing a file that searches share."""


@dataclass(frozen=True)
class Garbage:
    """Files of one kind that nothing needs.

    Attributes:
        search: The search that wrote them; None if several may have.
        kind: What they are, in words.
        files: The files.
        bytes: Their size.
    """

    search: str | None
    kind: str
    files: tuple[Path, ...]
    bytes: int


def collect_garbage(workspace: Workspace, names: Sequence[str] = (), dry_run: bool = False) -> list[Garbage]:
    """Remove what nothing needs of these searches, or of all of them and of deleted ones, and return what that was.

    Searches may run meanwhile: see `retention` for what they keep.

    Args:
        workspace: Where the searches are.
        names: The searches; all if there is none.
        dry_run: Whether to remove nothing.

    Raises:
        InputError: If there is no search of such a name, or its files at a URL cannot be reached.
        OSError: If a file cannot be removed.
    """
    with workspace.open() as store:
        rows = [store.search(name) for name in names] or store.searches()
        depots = {row.name: recorded_depot(workspace, row) for row in rows}
        found = [each for row in rows for each in _of_search(workspace, store, row, depots[row.name])]
        if not names:
            left = leftover_folders(workspace, store)
            found += [*(_of_folder(workspace, folder) for folder in left), _unfinished(workspace)]
        if not dry_run:
            for each in found:
                if each.search is not None and (depot := depots.get(each.search)) is not None:
                    depot.remove(each.files)
                for file in each.files:
                    file.unlink(missing_ok=True)
                    if file.parent.name.startswith(REPLACING):
                        with suppress(OSError):  # there are more
                            file.parent.rmdir()
            if not names:
                finish_deletions(workspace, store)
    return [each for each in found if each.files]


def unknown_folders(workspace: Workspace) -> list[Path]:
    """Folders of searches that the database does not know."""
    with workspace.open() as store:
        known = {row.name for row in store.searches()} | {Path(folder).name for folder in leftovers(store)}
    folder = workspace.folder / "searches"
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    return [folder / name for name in names if name not in known]


def _of_search(workspace: Workspace, store: Reader, row: SearchRow, depot: Depot | None) -> Iterator[Garbage]:
    folder = workspace.evaluations(row.name)
    surplus = find_surplus(store, row.id, Retention(folder, _keeps_sources(row), depot))
    there = {} if depot is None else depot.sizes(folder)
    yield _garbage(row.name, "checkpoints", surplus.checkpoints, there=there)
    yield _garbage(row.name, "weights", surplus.weights, there=there)
    if not is_owned(store, row.id):  # asked after they were listed, so no controller that begins now writes them
        yield _garbage(row.name, "unfinished files", surplus.unfinished)
        yield _of_assistants(workspace, row)


def _of_assistants(workspace: Workspace, row: SearchRow) -> Garbage:
    """What is left of trainings of assistants, once all are trained; nothing where the row cannot be read."""
    files, there = list[Path](), dict[Path, int]()
    with suppress(*DAMAGED):
        problem = recorded_problem(row, workspace.folder)
        files = surplus_of_assistants(problem)
        there = {} if problem.depot is None else problem.depot.sizes(problem.panel_folder)
    return _garbage(row.name, "trainings of assistants", files, there=there)


def _keeps_sources(row: SearchRow) -> bool:
    """Whether later students may inherit any weights; True where the configuration cannot be read."""
    try:
        return recorded_config(dict(row.config), f"search {row.name}").training.warm_start > 0
    except InputError:
        return True


def _of_folder(workspace: Workspace, folder: Path) -> Garbage:
    """All files in a folder of a deleted search."""
    is_own = folder in workspace.own_folders(folder.name)
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return _garbage(folder.name if is_own else None, "deleted search" if is_own else "teacher outputs", files)


def _unfinished(workspace: Workspace) -> Garbage:
    """Files of assistants, the service's exports, and what all share, being written when their process ended."""
    home = workspace.folder
    folders = [*(home / shared for shared in SHARED), *sorted((home / "searches").glob("*/panel"))]
    files = (file for folder in folders for file in sorted(folder.rglob(".*")))
    parts = (file for file in files if UNFINISHED.fullmatch(file.name))
    exports = sorted(workspace.exports.glob(f"{REPLACING}*/*"))  # which can be made again
    return _garbage(None, "unfinished files", (*parts, *exports), before=time.time() - UNTOUCHED_SECONDS)


def _garbage(
    search: str | None,
    kind: str,
    files: Iterable[Path],
    before: float = math.inf,
    there: Mapping[Path, int] | None = None,
) -> Garbage:
    """Those of the files that are still there and were last changed before a time, or have a size in the depot."""
    sizes = {}
    for file in files:
        if there and file in there:
            sizes[file] = there[file]
        with suppress(FileNotFoundError):  # another process has removed it
            if (status := file.stat()).st_mtime < before:
                sizes[file] = status.st_size
    return Garbage(search, kind, tuple(sizes), sum(sizes.values()))
