"""The commands that keep searches in order. Heavy imports are local, as in `app`."""

from pathlib import Path
from typing import Annotated

import typer

from autokd.cli.options import HomeFolder, Name, Names
from autokd.cli.options import OutputOption as Output

__all__ = ["app"]

app = typer.Typer()
PANEL = "Upkeep"


@app.command(rich_help_panel=PANEL)
def stop(
    name: Name,
    now: Annotated[bool, typer.Option("--now", help="Interrupt running evaluations, too, as Ctrl-C does.")] = False,
    output: Output = "text",
    home: HomeFolder = None,
) -> None:
    """Ask a running search to stop once its running evaluations have ended; `autokd resume` goes on.

    It may run in another terminal, or on another machine with the same database; it hears of this within seconds.
    """
    from autokd.cli.stop import stop
    from autokd.searches.api import find

    stop(find(name, home), now, output)


@app.command(rich_help_panel=PANEL)
def retry(
    name: Name,
    failed: Annotated[
        bool, typer.Option("--failed", help="All failed trials, also those that failed by their own fault.")
    ] = False,
    output: Output = "text",
    home: HomeFolder = None,
) -> None:
    """Open trials again that failed because their worker was lost or had no disk; `autokd resume` then goes on."""
    from autokd.cli.retry import retry
    from autokd.searches.api import find

    retry(find(name, home), failed, output)


@app.command(rich_help_panel=PANEL)
def gc(
    names: Names = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    output: Output = "text",
    home: HomeFolder = None,
) -> None:
    """Remove files that nothing needs: checkpoints and weights of losers, unfinished files, what `delete` left.

    Searches may run meanwhile.
    """
    from autokd.cli.gc import gc

    gc(names or [], dry_run, output, home)


@app.command(rich_help_panel=PANEL)
def backup(
    folder: Annotated[Path, typer.Argument(help="Folder to write, missing or empty.", show_default=False)],
    output: Output = "text",
    home: HomeFolder = None,
) -> None:
    """Copy the database and all files to another folder, with which searches can go on; they may run meanwhile.

    A database on a server is copied by pg_dump instead.
    """
    from autokd.cli.backup import backup

    backup(folder, output, home)


@app.command(rich_help_panel=PANEL)
def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    output: Output = "text",
    home: HomeFolder = None,
) -> None:
    """Delete a search and its files; what other searches use, such as stored teacher outputs, stays."""
    from autokd.cli.delete import delete

    delete(name, yes, output, home)
