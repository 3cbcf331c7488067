"""The command `gc`: removes files that nothing needs, and prints what they were."""

from collections.abc import Sequence
from pathlib import Path

from autokd.cli.output import Output, show_json, show_text
from autokd.errors import AutoKDError
from autokd.searches.garbage import collect_garbage, unknown_folders
from autokd.searches.tables import counted, table
from autokd.searches.workspace import default_workspace

__all__ = ["gc"]


def gc(names: Sequence[str], dry_run: bool, output: Output, home: Path | None) -> None:
    """Remove the files that nothing needs, and print how many of which kind they were.

    Args:
        names: The searches; all, and those that were deleted, if there is none.
        dry_run: Whether to remove nothing.
        output: What to print.
        home: Folder of all searches; the default one if None.

    Raises:
        InputError: If there is no search of such a name.
        AutoKDError: If a file cannot be removed.
    """
    workspace = default_workspace(home)
    try:
        found = collect_garbage(workspace, names, dry_run)
    except OSError as error:
        raise AutoKDError(f"{error.filename} cannot be removed: {error.strerror}.") from None
    n_files, n_bytes = sum(len(each.files) for each in found), sum(each.bytes for each in found)
    unknown = [] if names else [str(folder) for folder in unknown_folders(workspace)]
    if output == "json":
        kinds = [
            {"search": each.search, "kind": each.kind, "files": len(each.files), "bytes": each.bytes} for each in found
        ]
        show_json({"dry_run": dry_run, "files": n_files, "bytes": n_bytes, "removed": kinds, "unknown": unknown})
        return
    if found:
        rows = [(each.search or "", each.kind, f"{len(each.files):,}", _megabytes(each.bytes)) for each in found]
        show_text(table(("search", "what", "files", "size"), rows, numeric=(2, 3)))
    verb = "would remove" if dry_run else "removed"
    show_text(f"{verb} {counted(n_files, 'file')}, {_megabytes(n_bytes)}")
    for folder in unknown:
        show_text(f"left {folder}: this database has no such search; remove it by hand if no other database has")


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"
