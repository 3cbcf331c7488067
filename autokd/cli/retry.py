"""The command `retry`: opens failed trials again, and prints which."""

from autokd.cli.output import Output, show_json, show_text
from autokd.searches.result import SearchResult
from autokd.searches.tables import counted

__all__ = ["retry"]


def retry(result: SearchResult, failed: bool, output: Output) -> None:
    """Open failed trials again, and print which these are and why they had failed.

    Args:
        result: The search.
        failed: Whether to open all of them, also those that failed by their own fault.
        output: What to print.

    Raises:
        InputError: If a process runs the search.
    """
    opened = [record.trial for record in result.retry(failed)]
    n_left = result.progress.failed
    if output == "json":
        rows = [{"trial": row.number, "reference": row.reference, "reason": row.reason} for row in opened]
        show_json({"search": result.name, "opened": rows, "failed": n_left})
        return
    for row in opened:
        name = f"trial {row.number}" if row.reference is None else f"reference {row.reference}"
        show_text(f"{name} is open again; it had failed: {row.reason}")
    if opened:
        show_text(f"`{result.way_on('resume')}` goes on")
    else:
        show_text(f"no trial of search {result.name!r} has failed" + ("" if failed else " by a worker's fault"))
    if n_left:
        show_text(f"{counted(n_left, 'trial')} failed by no worker's fault: --failed opens these, too")
