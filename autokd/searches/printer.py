"""The progress of a search as lines of text, for the command line, scripts and notebooks."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from rich.console import Console

from autokd.core.console import PlainConsole
from autokd.data.dataset import describe
from autokd.searches.facts import Facts
from autokd.searches.progress import Progress, Training
from autokd.searches.reporter import Reporter, Silent
from autokd.searches.tables import (
    budget_table,
    count,
    counted,
    duration,
    panel_lines,
    percent,
    reference_state,
    training_state,
)
from search_spaces.design.envelope import Offer

__all__ = ["CHECKING", "LOADING", "Printer", "default_reporter", "found", "print_checks", "time_left"]

LOADING = "reading data, decoding images ..."
TRAINING_LINES = 10  # for each student: a line an epoch would fill the cell of a notebook
CHECKING = "asking the teacher about the validation samples ..."


def default_reporter() -> Reporter:
    """What Python's users hear without asking: lines on a terminal and in a notebook, nothing elsewhere."""
    return Printer(PlainConsole()) if sys.stdout.isatty() or _in_notebook() else Silent()


@dataclass
class Printer:
    """Prints a line for each news.

    Attributes:
        console: Where.
        on_news: Called at all news that come while workers run; it may raise KeyboardInterrupt.
    """

    console: Console
    on_news: Callable[[], None] = lambda: None
    n_evaluations: int = field(default=0, init=False)
    _last: object = None
    _references: set[str] = field(default_factory=set)

    def loading(self) -> None:
        """Say what takes a while."""
        self._print(LOADING)

    def checking(self) -> None:
        """Say what takes a while."""
        self._print(CHECKING)

    def checked(self, facts: Facts, offers: Sequence[Offer]) -> None:
        """Print what was found, and what the space offers."""
        print_checks(self.console, facts, offers)

    def began(self, name: str) -> None:
        """Name the search."""
        self._print(f"search {name} begins")

    def prepared(self, ready: int, needed: int) -> None:
        """Count the views and splits that are ready."""
        self.on_news()
        if ready and (ready, needed) != self._last:
            self._print(f"teacher outputs stored for {ready} of {needed} views and splits")
        self._last = (ready, needed)

    def notify(self, line: str) -> None:
        """Print the line."""
        self._print(line)

    def searched(self, progress: Progress) -> None:
        """Print how far the search is, if that changed, and each reference that reached the last rung."""
        self.on_news()
        for reference in progress.references:
            if reference.state == "complete" and reference.name not in self._references:
                self._references.add(reference.name)
                self._print(f"reference {reference.name}: {reference_state(reference)}")
        news = (progress.finished, progress.best_accuracy)
        if progress.status == "finished":
            self._print(_end(progress))
        elif news != self._last and progress.finished:
            self._print(_summary(progress))
        self._last = news

    def trained(self, trainings: Sequence[Training]) -> None:
        """Print how far the trainings are, at each tenth of them."""
        self.on_news()
        news = [(training.name, _steps_done(training), training.state) for training in trainings]
        if trainings and news != self._last:
            states = [f"{training.name}: {training_state(training)}" for training in trainings]
            self._print(f"full length: {'; '.join(states)}")
        self._last = news

    def _print(self, line: str) -> None:
        self.console.print(line, soft_wrap=True)


def print_checks(console: Console, facts: Facts, offers: Sequence[Offer]) -> None:
    """Print what was found of data, teacher and device, and what the space offers under the budget.

    Args:
        console: Where to print.
        facts: What was found out about data, teacher and device.
        offers: What the space offers under each limit of the budget.
    """
    for word, sentence in found(facts):
        console.print(f"{word:<9}{sentence}", soft_wrap=True)
    for space, of_space in groupby(offers, key=lambda offer: offer.space):
        if space:
            console.print(f"space    {space}")
        console.print(budget_table(list(of_space), facts.teacher_cost))


def found(facts: Facts) -> list[tuple[str, str]]:
    """What was found out about data, teacher and device, as words and sentences."""
    size = "" if facts.teacher_params is None else f", {count(facts.teacher_params)} parameters"
    speed = "" if facts.images_per_second is None else f", {facts.images_per_second:,.0f} images/s in a worker"
    return [
        ("data", f"{describe(facts.input_shape)}, {facts.classes} classes"),
        ("teacher", f"{percent(facts.teacher_metrics['accuracy'])} validation accuracy{size}"),
        *panel_lines(facts.panel),
        ("device", f"{facts.device}, {facts.precision}{speed}"),
    ]


def time_left(progress: Progress) -> str:
    """The estimated time until the last trial ends, in words; empty if it has."""
    if progress.finished >= progress.trials:
        return ""
    return "time left unknown" if progress.seconds_left is None else f"about {duration(progress.seconds_left)} left"


def _steps_done(training: Training) -> int:
    return int(TRAINING_LINES * training.epochs_done / training.epochs)


def _end(progress: Progress) -> str:
    """That the search is at its end; fewer trials than it has may be asked for when it is resumed."""
    if progress.finished > progress.trials:
        already = counted(progress.finished, "trial")
        return f"search {progress.name} has {already} already, more than the {progress.trials} asked for"
    return f"search {progress.name} ends after {progress.finished} of {counted(progress.trials, 'trial')}"


def _summary(progress: Progress) -> str:
    """What matters of it in about 80 columns."""
    best = percent(progress.best_accuracy)
    parts = [
        f"{progress.finished}/{counted(progress.n_trials, 'trial')}",
        f"{progress.pruned} pruned" if progress.pruned else "",
        f"{progress.failed} failed" if progress.failed else "",
        "no student yet" if progress.best_trial is None else f"best {best} by trial {progress.best_trial}",
        time_left(progress),
    ]
    return ", ".join(part for part in parts if part)


def _in_notebook() -> bool:
    """Whether this is the kernel of a notebook; that a library has imported `ipykernel` does not make it one."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")
