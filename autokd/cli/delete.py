"""The command `delete`: confirms, deletes a search, and prints what was deleted."""

import sys
from pathlib import Path

import typer

from autokd.cli.output import Output, show_json
from autokd.errors import InputError
from autokd.searches.deletion import Belongings, belongings, delete_search
from autokd.searches.tables import counted
from autokd.searches.workspace import default_workspace

__all__ = ["delete"]


def delete(name: str, yes: bool, output: Output, home: Path | None) -> None:
    """Delete a search, and print what was deleted.

    Args:
        name: Name of the search.
        yes: Whether to delete it without asking.
        output: What to print.
        home: Folder of all searches; the default one if None.

    Raises:
        InputError: If there is no such search, a controller runs it, or nobody can be asked.
    """
    workspace = default_workspace(home)
    if not yes and not _agrees(belongings(workspace, name)):
        raise InputError("nothing was deleted.")
    deleted = delete_search(workspace, name)
    if output == "json":
        show_json({"search": deleted.search, "trials": deleted.trials, "bytes": deleted.bytes})
    else:
        typer.echo(f"deleted {_named(deleted)}")


def _agrees(found: Belongings) -> bool:
    if not sys.stdin.isatty():
        raise InputError(f"search {found.search!r} is deleted only if you agree: add --yes, since nobody can be asked.")
    try:
        return typer.confirm(f"Delete {_named(found)}?", err=True)
    except typer.Abort:  # the end of the input
        return False


def _named(found: Belongings) -> str:
    return f"search {found.search!r}: {counted(found.trials, 'trial')}, {found.bytes / 1e6:.1f} MB of files"
