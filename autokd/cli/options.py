"""Arguments and options that many commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["HomeFolder", "Name", "OutputOption"]


def _leave_stdout_to_json(context: typer.Context, output: str) -> str:
    if output == "json" and not context.resilient_parsing:
        from autokd.cli.output import reserve_stdout

        context.with_resource(reserve_stdout())
    return output


Name = Annotated[str, typer.Argument(help="Name of the search, as `autokd list` shows it.", show_default=False)]
OutputOption = Annotated[
    Literal["text", "json"], typer.Option("-o", "--output", help="What to print.", callback=_leave_stdout_to_json)
]
HomeFolder = Annotated[
    Path | None,
    typer.Option("--home", envvar="AUTOKD_HOME", help="Folder of all searches.", show_default="autokd-runs"),
]
