"""A copy of a workspace that searches may go on to write: its database as of one moment, and the files that go with it.

SQLite's backup copies the database as of the moment it ends. Files are copied after it: whatever a row names was
complete before the row was written, so it is there. They are copied before it, too, since the search removes those that
its newest rows name no more. Files that are unfinished are left out. Nobody owns what is in the copy.
"""

import filecmp
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from autokd.core.files import UNFINISHED, files_in
from autokd.database.lease import void_all
from autokd.errors import InputError
from autokd.searches.workspace import Workspace

__all__ = ["Backup", "back_up"]

PAGES = 256  # of the database at a time, between which writers have their turn


@dataclass(frozen=True)
class Backup:
    """What was copied.

    Attributes:
        folder: Where to; it is a folder of searches as the first one is.
        searches: Number of searches.
        files: Number of files beside the database.
        bytes: Size of all.
    """

    folder: Path
    searches: int
    files: int
    bytes: int


def back_up(workspace: Workspace, folder: Path) -> Backup:
    """Copy a workspace to a new folder, from which searches can be resumed as from the first one.

    Args:
        workspace: The workspace; searches may run in it.
        folder: Folder to write; it must be missing or empty.

    Raises:
        InputError: If there is no database, it is on a server, or the folder cannot be written.
    """
    if workspace.url is not None:
        raise InputError(
            f"the database {workspace.database} is on a server: copy it by `pg_dump`, and then the folder "
            f"{workspace.folder} by any program."
        )
    if folder.resolve().is_relative_to(workspace.folder.resolve()):
        raise InputError(f"{folder} is within the folder of searches itself: choose another one.")
    try:
        if folder.exists() and any(folder.iterdir()):
            raise InputError(f"{folder} is not empty: choose another folder.")
        with workspace.open() as store:
            searches = len(store.searches())
        folder.mkdir(parents=True, exist_ok=True)
        copy = folder / workspace.file.name
        copied = dict(_copy_files(workspace, folder))
        _copy_database(workspace.file, copy)
        with Workspace(folder).open() as store:
            void_all(store)
        copied |= dict(_copy_files(workspace, folder))
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}.") from None
    except sqlite3.Error as error:
        raise InputError(f"{workspace.file} cannot be copied to {folder}: {error}.") from None
    return Backup(folder, searches, len(copied), sum(copied.values()) + copy.stat().st_size)


def _copy_database(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source, timeout=60)) as before, closing(sqlite3.connect(target)) as copy:
        before.backup(copy, pages=PAGES)


def _copy_files(workspace: Workspace, target: Path) -> Iterator[tuple[Path, int]]:
    """Copy those finished files but the database that are not copied yet; gives each copy, old or new, and its size."""
    itself = target.resolve()
    for file in files_in(workspace.folder):
        if UNFINISHED.fullmatch(file.name) or file.name.startswith(workspace.file.name) or file.is_symlink():
            continue
        if file.resolve().is_relative_to(itself):  # where a link leads there
            continue
        copy = target / file.relative_to(workspace.folder)
        with suppress(FileNotFoundError):  # it was removed meanwhile, so no later row needs it
            if file.is_file():
                if not (copy.exists() and filecmp.cmp(file, copy)):
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(file, copy)
                yield copy, copy.stat().st_size
