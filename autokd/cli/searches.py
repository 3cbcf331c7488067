"""The verb `list`, which imports no more than it needs: people look often."""

from dataclasses import asdict

from autokd.cli.output import Output, show_json, show_text
from autokd.searches.progress import all_progress
from autokd.searches.tables import searches_table
from autokd.searches.workspace import Workspace

__all__ = ["show_searches"]


def show_searches(home: Workspace, output: Output) -> None:
    """Print all searches, one line each.

    Args:
        home: Workspace of the searches.
        output: What to print: text or one JSON value.
    """
    progresses = all_progress(home)
    if output == "json":
        show_json([asdict(progress) for progress in progresses])
    elif not progresses:
        show_text(f"no search in {home.folder} yet: begin one with `autokd search`")
    else:
        show_text(searches_table(progresses))
