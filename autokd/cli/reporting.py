"""Progress of a search or a teacher's training: redrawn in place on a terminal, otherwise one line for each change."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autokd.cli.interruption import raise_if_interrupted
from autokd.core.console import PlainConsole
from autokd.searches.facts import Facts
from autokd.searches.printer import CHECKING, LOADING, TRAINING_LINES, Printer, print_checks, time_left
from autokd.searches.progress import Progress, Training
from autokd.searches.reporter import Reporter
from autokd.searches.tables import count, duration, evaluation_state, percent, reference_state, training_state
from autokd.teachers.training import TeacherProgress
from search_spaces.design.envelope import Offer

__all__ = ["reporter", "teacher_reporter"]


@contextmanager
def reporter(to_stderr: bool) -> Iterator[Reporter]:
    """Reporter for a terminal, or for a pipe or file.

    Args:
        to_stderr: Whether to write to stderr, so that stdout has only the result.
    """
    console = _Console(stderr=to_stderr)
    if not console.is_terminal:
        yield Printer(console, raise_if_interrupted)
        return
    with Live(Text("starting ..."), console=console, auto_refresh=False, transient=True) as live:
        live.refresh()
        yield _Screen(live)


@contextmanager
def teacher_reporter(to_stderr: bool) -> Iterator[Callable[[TeacherProgress], None]]:
    """Function that shows the progress of a teacher's training on a terminal, or in a pipe or file.

    Args:
        to_stderr: Whether to write to stderr, so that stdout has only the result.
    """
    console = _Console(stderr=to_stderr)
    if not console.is_terminal:
        yield lambda progress: _print_progress(console, progress)
        return
    with Live(Text(LOADING), console=console, auto_refresh=False, transient=True) as live:
        live.refresh()
        yield lambda progress: _draw_progress(live, progress)


def _print_progress(console: PlainConsole, progress: TeacherProgress) -> None:
    """Print a line after the first epoch, which tells how long the others will take, and at each tenth."""
    raise_if_interrupted()
    lines = [TRAINING_LINES * epoch // progress.epochs for epoch in (progress.epoch - 1, progress.epoch)]
    if progress.epoch == 1 or lines[0] != lines[1]:
        console.print(f"teacher: {_teacher_state(progress)}", soft_wrap=True)


def _draw_progress(live: Live, progress: TeacherProgress) -> None:
    raise_if_interrupted()
    row = Table.grid(padding=(0, 2))
    row.add_row("teacher", ProgressBar(progress.epochs, progress.epoch, width=30), _teacher_state(progress))
    live.update(row, refresh=True)


def _teacher_state(progress: TeacherProgress) -> str:
    left = progress.seconds / progress.epoch * (progress.epochs - progress.epoch)
    ending = f", about {duration(left)} left" if left else ""
    return (
        f"epoch {progress.epoch} of {progress.epochs}, loss {progress.loss:.4f}, "
        f"{percent(progress.accuracy)} on validation{ending}"
    )


class _Console(PlainConsole):
    def on_broken_pipe(self) -> None:
        """Interrupt the search, which can be resumed: the reader of its output has ended, such as `head`."""
        raise KeyboardInterrupt


@dataclass
class _Screen:
    """Reporter that redraws a few lines in place."""

    live: Live
    n_evaluations: int = field(default=8, init=False)  # with what else is shown, they fit a terminal of 24 lines

    def loading(self) -> None:
        self.live.update(Text(LOADING), refresh=True)

    def checking(self) -> None:
        self.live.update(Text(CHECKING), refresh=True)

    def checked(self, facts: Facts, offers: Sequence[Offer]) -> None:
        print_checks(self.live.console, facts, offers)

    def began(self, name: str) -> None:
        self.live.update(Text(f"search {name} begins ..."), refresh=True)

    def prepared(self, ready: int, needed: int) -> None:
        raise_if_interrupted()
        line = Table.grid(padding=(0, 1))
        bar = ProgressBar(needed, ready, width=30)
        line.add_row("teacher outputs for every view and split", bar, f"{ready}/{needed}")
        self.live.update(line, refresh=True)

    def notify(self, line: str) -> None:
        self.live.console.print(line, soft_wrap=True)

    def searched(self, progress: Progress) -> None:
        raise_if_interrupted()
        self.live.update(self._search(progress), refresh=True)

    def trained(self, trainings: Sequence[Training]) -> None:
        raise_if_interrupted()
        lines = _lines((each.name, each.epochs, each.epochs_done, training_state(each)) for each in trainings)
        self.live.update(Group(Text("full-length training", style="bold"), lines), refresh=True)

    def _search(self, progress: Progress) -> RenderableType:
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            Text(f"search {progress.name}", style="bold"),
            ProgressBar(1, progress.share_done, width=30),
            f"{progress.finished}/{progress.n_trials}",
            Text(time_left(progress), style="dim"),
        )
        references = (
            Text(f"reference {reference.name}: {reference_state(reference)}", style="dim")
            for reference in progress.references
        )
        best = Text(_best(progress), style="green")
        return Group(bar, *references, Text(_counts(progress)), best, *self._evaluations(progress))

    def _evaluations(self, progress: Progress) -> Iterator[RenderableType]:
        """A line for each of the first running evaluations, and one for how many more there are."""
        first = progress.evaluations[: self.n_evaluations]
        yield _lines((each.name, each.epochs, each.epochs_done or 0, evaluation_state(each)) for each in first)
        if (more := len(progress.evaluations) - self.n_evaluations) > 0:
            yield Text(f"and {more} more", style="dim")


def _lines(trainings: Iterable[tuple[str, float, float, str]]) -> Table:
    """A line for each training: its name, a bar of its epochs, of which some are done, and its state."""
    lines = Table.grid(padding=(0, 1))
    lines.add_column(no_wrap=True)
    lines.add_column(width=10)
    for name, epochs, done, state in trainings:
        cut = Text(state, style="dim", no_wrap=True, overflow="ellipsis")
        lines.add_row(Text(name), ProgressBar(epochs, done), cut)
    return lines


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
