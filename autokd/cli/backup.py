"""The command `backup`: copies a workspace, and prints what was copied."""

from dataclasses import asdict
from pathlib import Path

from autokd.cli.output import Output, show_json, show_text
from autokd.core.disk import size_text
from autokd.searches.backup import back_up
from autokd.searches.tables import counted
from autokd.searches.workspace import default_workspace

__all__ = ["backup"]


def backup(folder: Path, output: Output, home: Path | None) -> None:
    """Copy a workspace, and print what was copied.

    Args:
        folder: Folder to write.
        output: What to print.
        home: Folder of the searches.

    Raises:
        InputError: If it cannot be copied.
    """
    done = back_up(default_workspace(home), folder)
    if output == "json":
        show_json(asdict(done))
        return
    searches, files = counted(done.searches, "search", "searches"), counted(done.files, "file")
    show_text(f"copied {searches} with {files} ({size_text(done.bytes)}) to {done.folder}")
