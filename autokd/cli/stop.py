"""The command `stop`: asks the process that runs a search to stop, and prints what will happen."""

from autokd.cli.output import Output, show_json, show_text
from autokd.searches.progress import unfinished_verb
from autokd.searches.result import SearchResult

__all__ = ["stop"]


def stop(result: SearchResult, now: bool, output: Output) -> None:
    """Ask the process that runs a search to stop, and print which one that is.

    Args:
        result: The search.
        now: Whether to interrupt running evaluations, too.
        output: What to print.

    Raises:
        InputError: If no process runs it.
    """
    row = result.stop(now)
    if output == "json":
        show_json({"search": row.name, "stop": row.stop, "host": row.lease_host, "pid": row.lease_pid})
        return
    verb = unfinished_verb(result.trainings)
    when = "within seconds" if now else "once its running evaluations have ended"
    show_text(f"search {row.name!r} (process {row.lease_pid} on {row.lease_host}) stops {when}")
    show_text(f"`{result.command('status')}` tells how far that is, and `{result.way_on(verb)}` goes on")
