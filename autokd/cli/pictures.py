"""The commands that write pictures, pages and studies. Heavy imports are local, as in `app`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from autokd.cli.options import HomeFolder, Name, Overwrite
from autokd.cli.options import OutputOption as Output

__all__ = ["app"]

app = typer.Typer()
PANEL = "Results"


@app.command(rich_help_panel=PANEL)
def draw(
    what: Annotated[
        str,
        typer.Argument(
            metavar="ARCHITECTURE-or-NAME",
            help="An architecture.json, an exported folder, or a search: its best student.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Argument(help="File to write: .svg, .png, .pdf or .dot.", show_default=False)],
    trial: Annotated[int | None, typer.Option("--trial", help="Draw the student of this trial of the search.")] = None,
    engine: Annotated[
        Literal["graphviz", "networkx"] | None,
        typer.Option("--engine", help="Who lays it out.", show_default="graphviz if installed"),
    ] = None,
    output: Output = "text",
    home: HomeFolder = None,
) -> None:
    """Draw a network: its graph by level, with stages, shapes and cost."""
    from autokd.cli.draw import draw

    draw(what, out, trial, engine, output, home)


@app.command(rich_help_panel=PANEL)
def plot(
    name: Name,
    out: Annotated[
        Path, typer.Argument(metavar="FILE", help="File to write: .svg, .png, .pdf or .html.", show_default=False)
    ],
    output: Output = "text",
    home: HomeFolder = None,
) -> None:
    """Plot a search: its history, the importance of its dimensions, and where its good trials are."""
    from autokd.cli.plot import plot
    from autokd.searches.api import find

    plot(find(name, home), out, output)


@app.command(rich_help_panel=PANEL)
def report(
    name: Name,
    folder: Annotated[Path, typer.Argument(help="Folder to write; the page is its index.html.", show_default=False)],
    output: Output = "text",
    home: HomeFolder = None,
) -> None:
    """Write one page, which needs no network, with all that decides whether to use the student."""
    from autokd.cli.report import report
    from autokd.searches.api import find

    report(find(name, home), folder, output)


@app.command(rich_help_panel=PANEL)
def study(
    name: Name,
    file: Annotated[Path, typer.Argument(help="SQLite file to write, such as study.db.", show_default=False)],
    force: Overwrite = False,
    output: Output = "text",
    home: HomeFolder = None,
) -> None:
    """Write a search as an Optuna study, which optuna-dashboard shows."""
    from autokd.cli.study import study
    from autokd.searches.api import find

    study(find(name, home), file, force, output)
