"""Rules for the folder of an export: nothing that an export did not write is ever replaced."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from autokd.errors import DiskFullError, InputError, first_line
from autokd.export.manifest import MANIFEST, Manifest, read_manifest
from autokd.export.verification import check_files, check_names

__all__ = ["REPLACING", "Origin", "check_replaceable", "put_in_place"]

Origin = tuple[str | None, str | None]
"""Name of the search that found a student, and the time at which it began, each None if unknown."""

REPLACING = ".autokd-export-"
"""How folders begin in which an export is written, or the earlier one is kept, until it is in place."""

_WAYS_OUT = "choose another folder, or replace it with --force (in Python, force=True)"


def check_replaceable(folder: Path, origin: Origin | None = None, force: bool = False) -> Path:
    """Resolved path of a folder to which an export may be written. Nothing is written.

    The folder may be missing or empty, or hold an unchanged export of the same search and nothing else. It is replaced
    as a whole, so that its parent must be writable, and it may be no mount point.

    Args:
        folder: Folder of the export.
        origin: Search that found the student; None means a search without exports.
        force: Whether the folder may also hold an export of another search, or one whose files were changed.

    Raises:
        InputError: If the folder holds anything else, is a link or the current folder, or cannot be made or replaced.
    """
    try:
        return _check(folder, origin, force)
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: circular links; ValueError: a null byte
        raise InputError(f"{folder} cannot be written: {_reason(error)}.") from None


@contextmanager
def put_in_place(folder: Path, origin: Origin | None, force: bool) -> Iterator[Path]:
    """Context of a temporary folder beside `folder`, which replaces `folder` as a whole at the end.

    If the block raises, nothing is changed. If the process is killed, the earlier export still exists, either in its
    place or, between two renames, as a folder `.autokd-export-...` beside it.

    Args:
        folder: Folder of the export.
        origin: See `check_replaceable`.
        force: See `check_replaceable`.

    Raises:
        InputError: See `check_replaceable`; also if writing fails.
        DiskFullError: If the disk is full.
    """
    place = check_replaceable(folder, origin, force)
    made = [parent for parent in place.parents if not parent.exists()]  # innermost first
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=REPLACING, dir=place.parent))
        try:
            yield temporary
            check_replaceable(folder, origin, force)  # the folder may have changed meanwhile
            _exchange(temporary, place)
            made = []
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except DiskFullError:
        raise DiskFullError(f"the disk of {folder} is full: make room.") from None
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {_reason(error)}.") from None
    finally:
        for parent in made:
            with suppress(OSError):
                parent.rmdir()


def _check(folder: Path, origin: Origin | None, force: bool) -> Path:
    if folder.is_symlink():
        raise InputError(f"{folder} is a link: give the folder that it points to, or choose another name.")
    place = folder.resolve()
    if Path.cwd().is_relative_to(place):
        raise InputError(f"{folder} is the current folder or one around it: choose another one, such as ./student.")
    if place.exists():
        _check_content(folder, place, origin, force)
        _check_can_be_replaced(folder, place)
    else:
        _check_can_be_made(place)
    return place


def _check_content(folder: Path, place: Path, origin: Origin | None, force: bool) -> None:
    if not place.is_dir():
        raise InputError(f"{folder} is not a folder: choose another name.")
    if not any(place.iterdir()):
        return
    manifest = read_manifest(folder)
    check_names(folder, manifest)
    if force:
        return
    if not _is_of(manifest, origin):
        raise InputError(f"{folder} holds the export of another search, {manifest.search!r}: {_WAYS_OUT}.")
    try:
        check_files(folder, manifest)
    except InputError as error:
        raise InputError(f"{error} It is not replaced: {_WAYS_OUT}.") from None


def _check_can_be_replaced(folder: Path, place: Path) -> None:
    if place.is_mount():
        raise InputError(
            f"{folder} is a mount point, which cannot be replaced: give a folder in it, such as {folder / 'student'}."
        )
    _check_may_write(place, place.parent)


def _check_can_be_made(place: Path) -> None:
    """Raise `OSError` or `InputError` if it is already clear that the folder cannot be made."""
    existing = next(parent for parent in place.parents if parent.exists())
    for part in place.relative_to(existing).parts:
        with suppress(FileNotFoundError):
            (existing / part).lstat()  # raises if the name is too long, or `existing` is a file
    _check_may_write(place, existing)


def _check_may_write(place: Path, parent: Path) -> None:
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"{place} cannot be written: there is no right to write to {parent}.")


def _is_of(manifest: Manifest, origin: Origin | None) -> bool:
    """Whether an export is from this search; without the time at which its search began, only names are compared."""
    if origin is None or manifest.search != origin[0]:
        return False
    return manifest.search_began is None or manifest.search_began == origin[1]


def _exchange(new: Path, place: Path) -> None:
    if not place.exists():
        new.rename(place)
        return
    old = Path(tempfile.mkdtemp(prefix=REPLACING, dir=place.parent))
    place.rename(old)
    try:
        new.rename(place)
    except OSError:
        old.rename(place)
        raise
    _remove_export(old)


def _remove_export(folder: Path) -> None:
    """Delete an earlier export file by file, so that a file that was added meanwhile is kept."""
    if (folder / MANIFEST).exists():
        for name in (*read_manifest(folder).files, MANIFEST):
            (folder / name).unlink(missing_ok=True)
        for cached in folder.glob("__pycache__/*.pyc"):
            cached.unlink()
    with suppress(OSError):
        for path in (folder / "__pycache__", folder):
            path.rmdir() if path.exists() else None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or first_line(error)
