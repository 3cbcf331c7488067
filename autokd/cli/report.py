"""Progress of a running search: redrawn in place on a terminal, one line for each news elsewhere."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autokd.cli.interruption import raise_if_interrupted
from autokd.cli.output import PlainConsole
from autokd.cli.tables import budget_table, count, counted, duration, percent, training_state
from autokd.data.dataset import describe
from autokd.searches.facts import Facts
from autokd.searches.progress import Progress, Training
from autokd.searches.reporter import Reporter
from search_spaces.design.envelope import Offer

__all__ = ["reporter"]

CHECKING = "asking the teacher about the validation samples ..."


@contextmanager
def reporter(to_stderr: bool) -> Iterator[Reporter]:
    """A reporter for this terminal, or for a pipe or file.

    Args:
        to_stderr: Leave stdout to the result.
    """
    console = _Console(stderr=to_stderr)
    if not console.is_terminal:
        yield _Lines(console)
        return
    with Live(Text("starting ..."), console=console, auto_refresh=False, transient=True) as live:
        live.refresh()
        yield _Screen(live)


class _Console(PlainConsole):
    def on_broken_pipe(self) -> None:
        """Stop the search, resumable: who reads its progress left, as `| head` does."""
        raise KeyboardInterrupt


def _print_checks(console: Console, facts: Facts, offers: Sequence[Offer]) -> None:
    size = "" if facts.teacher_params is None else f", {count(facts.teacher_params)} parameters"
    console.print(f"data     {describe(facts.input_shape)}, {facts.classes} classes")
    console.print(f"teacher  {percent(facts.teacher_metrics['accuracy'])} validation accuracy{size}")
    console.print(f"device   {facts.device}, {facts.precision}")
    console.print(budget_table(offers))


@dataclass
class _Lines:
    """One line for each news."""

    console: Console
    _last: object = None

    def checking(self) -> None:
        self._print(CHECKING)

    def checked(self, facts: Facts, offers: Sequence[Offer]) -> None:
        _print_checks(self.console, facts, offers)

    def began(self, name: str) -> None:
        self._print(f"search {name} begins")

    def prepared(self, ready: int, needed: int) -> None:
        raise_if_interrupted()
        if ready and (ready, needed) != self._last:
            self._print(f"the teacher answered for {ready} of {needed} views and splits")
        self._last = (ready, needed)

    def notify(self, line: str) -> None:
        self._print(line)

    def searched(self, progress: Progress) -> None:
        raise_if_interrupted()
        news = (progress.finished, progress.best_accuracy)
        if progress.status == "finished":
            self._print(f"search {progress.name} ends after {progress.finished} of {counted(progress.trials, 'trial')}")
        elif news != self._last and progress.finished:
            self._print(_summary(progress))
        self._last = news

    def trained(self, trainings: Sequence[Training]) -> None:
        raise_if_interrupted()
        news = [(training.replicate, int(training.epochs_done), training.state) for training in trainings]
        if trainings and news != self._last:
            states = [f"student {training.replicate}: {training_state(training)}" for training in trainings]
            self._print(f"full length: {'; '.join(states)}")
        self._last = news

    def _print(self, line: str) -> None:
        self.console.print(line, soft_wrap=True)


@dataclass
class _Screen:
    """A few lines redrawn in place."""

    live: Live

    def checking(self) -> None:
        self.live.update(Text(CHECKING), refresh=True)

    def checked(self, facts: Facts, offers: Sequence[Offer]) -> None:
        _print_checks(self.live.console, facts, offers)

    def began(self, name: str) -> None:
        self.live.update(Text(f"search {name} begins ..."), refresh=True)

    def prepared(self, ready: int, needed: int) -> None:
        raise_if_interrupted()
        line = Table.grid(padding=(0, 1))
        bar = ProgressBar(needed, ready, width=30)
        line.add_row("the teacher answers for every view and split", bar, f"{ready}/{needed}")
        self.live.update(line, refresh=True)

    def notify(self, line: str) -> None:
        self.live.console.print(line, soft_wrap=True)

    def searched(self, progress: Progress) -> None:
        raise_if_interrupted()
        self.live.update(self._search(progress), refresh=True)

    def trained(self, trainings: Sequence[Training]) -> None:
        raise_if_interrupted()
        table = Table.grid(padding=(0, 2))
        for training in trainings:
            bar = ProgressBar(training.epochs, training.epochs_done, width=30)
            table.add_row(f"student {training.replicate}", bar, training_state(training))
        self.live.update(Group(Text("full-length training", style="bold"), table), refresh=True)

    def _search(self, progress: Progress) -> RenderableType:
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            Text(f"search {progress.name}", style="bold"),
            ProgressBar(progress.trials, progress.finished, width=30),
            f"{progress.finished}/{progress.trials}",
            Text(_time_left(progress), style="dim"),
        )
        return Group(bar, Text(_counts(progress)), Text(_best(progress), style="green"))


def _summary(progress: Progress) -> str:
    """What matters of it in about 80 columns."""
    best = percent(progress.best_accuracy)
    parts = [
        f"{progress.finished}/{counted(progress.trials, 'trial')}",
        f"{progress.pruned} pruned" if progress.pruned else "",
        f"{progress.failed} failed" if progress.failed else "",
        "no student yet" if progress.best_trial is None else f"best {best} by trial {progress.best_trial}",
        _time_left(progress) if progress.finished < progress.trials else "",
    ]
    return ", ".join(part for part in parts if part)


def _counts(progress: Progress) -> str:
    return (
        f"{progress.complete} complete, {progress.pruned} pruned, {progress.failed} failed, {progress.running} running"
    )


def _best(progress: Progress) -> str:
    teacher = f"teacher {percent(progress.teacher_accuracy)}"
    if progress.best_accuracy is None or progress.best_params is None:
        return f"no student yet, {teacher}"
    return (
        f"best {percent(progress.best_accuracy)} by trial {progress.best_trial} "
        f"with {count(progress.best_params)} parameters, {teacher}"
    )


def _time_left(progress: Progress) -> str:
    return "time left unknown" if progress.seconds_left is None else f"about {duration(progress.seconds_left)} left"
