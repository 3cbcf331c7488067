"""Arguments and options that many commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from autokd.cli.damage import remember_home, remember_name, remember_names
from autokd.errors import AutoKDError

__all__ = ["Force", "HomeFolder", "LateOverride", "Name", "Names", "OutputOption", "Override", "Overwrite", "Within"]


def _leave_stdout_to_json(context: typer.Context, output: str) -> str:
    if output == "json" and not context.resilient_parsing:
        from autokd.cli.output import reserve_stdout

        context.with_resource(reserve_stdout())
    return output


def _names(context: typer.Context, incomplete: str) -> list[str]:
    """Names of searches, for the shell's completion; none if there is no database that can be read."""
    from autokd.searches.workspace import default_workspace

    try:
        with default_workspace(context.params.get("home")).open() as store:
            return [row.name for row in store.searches() if row.name.startswith(incomplete)]
    except AutoKDError:
        return []


def _settings(incomplete: str) -> list[str]:
    """The settings of a search, for the shell's completion."""
    from autokd.config.json_schema import setting_keys

    return [f"{key}=" for key in setting_keys() if key.startswith(incomplete)]


def _late_settings(incomplete: str) -> list[str]:
    """Those that may change when a search is resumed."""
    from autokd.config.parsing import may_change

    return [setting for setting in _settings(incomplete) if may_change(setting.removesuffix("="))]


def _set_option(example: str, keys: Callable[[str], list[str]]) -> Any:
    return typer.Option("--set", metavar="KEY=VALUE", help=f"Change a setting: {example}.", autocompletion=keys)


Name = Annotated[
    str,
    typer.Argument(
        help="Name of the search, as `autokd list` shows it.",
        show_default=False,
        autocompletion=_names,
        callback=remember_name,
    ),
]
Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME]...",
        help="Names of searches.",
        show_default="all, and deleted ones",
        autocompletion=_names,
        callback=remember_names,
    ),
]
Override = Annotated[list[str] | None, _set_option("training.rungs='[1, 3]'", _settings)]
LateOverride = Annotated[list[str] | None, _set_option("trials=100, final.epochs=50", _late_settings)]
Force = Annotated[
    bool, typer.Option("--force", help="Replace an export of another search, or one whose files were changed.")
]
Overwrite = Annotated[bool, typer.Option("--force", help="Overwrite the file.")]
Within = Annotated[
    list[str] | None,
    typer.Option("--within", metavar="LIMIT=NUMBER", help="Choose among students that cost no more: macs=3000000."),
]
OutputOption = Annotated[
    Literal["text", "json"], typer.Option("-o", "--output", help="What to print.", callback=_leave_stdout_to_json)
]
HomeFolder = Annotated[
    Path | None,
    typer.Option(
        "--home",
        envvar="AUTOKD_HOME",
        help="Folder of all searches.",
        show_default="autokd-runs",
        callback=remember_home,
    ),
]
