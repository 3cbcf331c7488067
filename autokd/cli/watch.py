"""The verb `watch`, and `status --watch`: a search seen from another terminal than the one that runs it."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import typer
from rich.live import Live

from autokd.cli.best import best
from autokd.cli.output import Output
from autokd.cli.reporting import reporter
from autokd.cli.show import status, status_table
from autokd.core.console import PlainConsole
from autokd.errors import AutoKDError, InterruptedSearchError
from autokd.searches.event_lines import event_line
from autokd.searches.progress import why_failed
from autokd.searches.reporter import Reporter
from autokd.searches.result import SearchResult
from autokd.searches.watching import Look, watch

__all__ = ["keep_showing", "watch_search"]

LOOK_SECONDS = 1.0
STEPS = {"trial_opened", "student_added", "evaluation_opened", "evaluation_finished"}
"""Kinds of events within a trial, of which there are too many to be news."""


def watch_search(result: SearchResult, output: Output) -> None:
    """Show a search as the process that runs it does, with what else happens to it, and end as that does.

    Args:
        result: The search.
        output: What to print of its result at the end: text or one JSON value.

    Raises:
        InterruptedSearchError: If it is interrupted.
        AutoKDError: If it fails.
    """
    with _left_alone(result), reporter(to_stderr=output == "json") as shown:
        first: Look | None = None
        costs = result.problem.costs
        for look in watch(result.with_reporter(shown), LOOK_SECONDS):
            _report(look, shown, costs)
            first = first or look
        if look.progress.status == "finished":
            for remark in result.remarks:
                shown.notify(remark)
    _check_ended(first or look, look, result)
    best(result, output)


def keep_showing(result: SearchResult, seconds: float, output: Output) -> None:
    """Show the status of a search until it ends: in place on a terminal, one after the other elsewhere.

    Args:
        result: The search.
        seconds: Time between two looks; what has not changed since is not shown again.
        output: What to print each time: text or one JSON value.
    """
    console = PlainConsole()
    looks = _with_news(watch(result, seconds))
    with _left_alone(result):
        if console.is_terminal and output == "text":
            with Live(console=console, auto_refresh=False, transient=True) as live:
                for _ in looks:
                    live.update(status_table(result), refresh=True)
            status(result, output)
            return
        for position, _ in enumerate(looks):
            if position:
                print()
            status(result, output)
            sys.stdout.flush()


def _with_news(looks: Iterable[Look]) -> Iterator[Look]:
    """The first look, and those that saw something new: a status asks the model, which takes time from the search."""
    before = None
    for look in looks:
        seen = look.progress, look.trainings
        if look.events or seen != before:
            yield look
        before = seen


def _report(look: Look, shown: Reporter, costs: Sequence[str]) -> None:
    for event in look.events:
        if event.kind not in STEPS:
            shown.notify(event_line(event, costs))
    if look.is_training:
        shown.trained(look.trainings)
    else:
        shown.searched(look.progress)


def _check_ended(first: Look, last: Look, result: SearchResult) -> None:
    """Check that what was watched, the search or its full-length trainings, came to its end.

    Args:
        first: The first look.
        last: The last one.
        result: The search.
    """
    if last.progress.status == "failed":
        raise AutoKDError(why_failed(last.progress))
    before = {(one.name, one.state, one.epochs_done) for one in first.trainings}
    trained = [one.state for one in last.trainings if (one.name, one.state, one.epochs_done) not in before]
    if trained and set(trained) == {"failed"}:
        raise AutoKDError(
            f"the full-length trainings of search {result.name!r} failed; `{result.command('status')}` says why."
        )
    if "running" in trained or not (trained or last.progress.status == "finished"):
        verb = "train" if trained else "resume"
        raise InterruptedSearchError(f"search {result.name!r} was interrupted; `{result.way_on(verb)}` goes on.")


@contextmanager
def _left_alone(result: SearchResult) -> Iterator[None]:
    """A block that says when it is interrupted that the search is not."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"search {result.name!r} is left alone; `{result.command('watch')}` shows it again", err=True)
        raise
