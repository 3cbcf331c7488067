"""The verb `doctor`."""

from dataclasses import asdict
from pathlib import Path

from autokd.cli.output import Output, show_json, show_text
from autokd.searches.doctor import examine
from autokd.searches.tables import table
from autokd.searches.workspace import default_workspace

__all__ = ["doctor"]

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
