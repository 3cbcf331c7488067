"""The verb `doctor`."""

from dataclasses import asdict
from pathlib import Path

import typer

from autokd.cli.output import Output, show_json, show_text
from autokd.errors import InputError
from autokd.searches.doctor import examine, find_damage
from autokd.searches.tables import table
from autokd.searches.workspace import default_workspace

__all__ = ["doctor", "doctor_database"]

MARKS = {True: "yes", False: "NO", None: "-"}


def doctor(output: Output, home: Path | None) -> None:
    """Print what works here and what does not.

    Args:
        output: What to print: text or one JSON value.
        home: Folder of all searches.
    """
    found = examine(default_workspace(home))
    if output == "json":
        show_json([asdict(finding) for finding in found])
        return
    rows = [(finding.subject, MARKS[finding.works], finding.detail) for finding in found]
    show_text(table(("what", "works", "detail"), rows))


def doctor_database(output: Output, home: Path | None) -> None:
    """Print the damaged rows of the database; if there are any, exit with code 2.

    Args:
        output: What to print: text or one JSON value.
        home: Folder of all searches.
    """
    workspace = default_workspace(home)
    found = find_damage(workspace)
    if output == "json":
        show_json([{"table": error.table, "row": error.row, "damage": error.damage} for error in found])
    elif found:
        show_text(table(("table", "row", "damage"), [(error.table, str(error.row), error.damage) for error in found]))
    else:
        show_text(f"no damaged row in {workspace.database}")
    if found:
        raise typer.Exit(InputError.exit_code)
