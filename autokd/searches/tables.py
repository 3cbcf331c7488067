"""Numbers and tables as people read them."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table
from rich.text import Text

from autokd.searches.panel_facts import AssistantFacts, PanelFacts
from autokd.searches.progress import Progress, ReferenceProgress, Training
from autokd.searches.times import Times
from autokd.searches.under_way import RunningEvaluation

if TYPE_CHECKING:
    from autokd.teachers.cost import TeacherCost
    from search_spaces.design.envelope import Offer

__all__ = [
    "METRIC_HEADINGS",
    "budget_table",
    "count",
    "counted",
    "decimal",
    "duration",
    "evaluation_state",
    "facts_table",
    "limits_used",
    "metric_cells",
    "moment",
    "panel_lines",
    "percent",
    "ratio",
    "reference_state",
    "searches_table",
    "table",
    "teacher_cells",
    "tightest_limit",
    "times_line",
    "training_state",
]

METRIC_HEADINGS = ("accuracy", "loss", "ECE", "ECE scaled")
READABLE = 30  # columns of a terminal to which words may be wrapped
_GAP = 3  # columns of a terminal between two of a table
_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def percent(share: float | None) -> str:
    """`93.47 %`, or a dash."""
    return "-" if share is None else f"{100 * share:.2f} %"


def decimal(number: float | None) -> str:
    """`0.0123`, or a dash."""
    return "-" if number is None else f"{number:.4f}"


def count(number: int | None) -> str:
    """Three digits and a unit, `87.4 k`, or a dash."""
    if number is None:
        return "-"
    for size, unit in _UNITS:
        if number >= 0.9995 * size:  # of which three digits are those of the unit
            return f"{number / size:.3g} {unit}"
    return str(number)


def counted(number: float, noun: str, plural: str | None = None) -> str:
    """`1 trial`, `2 trials`, `0.5 epochs`.

    Args:
        number: How many.
        noun: Of what.
        plural: Its plural, where that is not the noun with an s.
    """
    return f"{number:g} {noun if number == 1 else plural or f'{noun}s'}"


def ratio(larger: float | None, smaller: float | None) -> str:
    """How many times larger, `12.3`, or a dash where one of them is unknown or the smaller is 0."""
    return "-" if larger is None or not smaller else f"{larger / smaller:.1f}"


def metric_cells(metrics: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Accuracy, loss and calibration errors, see `METRIC_HEADINGS`; a dash for those that were not measured."""
    loss, ece, scaled = (decimal(metrics.get(name)) for name in ("loss", "ece", "ece_scaled"))
    return percent(metrics.get("accuracy")), loss, ece, scaled


def teacher_cells(metrics: Mapping[str, Any]) -> tuple[str, str]:
    """Agreement with the teacher, and divergence from it."""
    return percent(metrics.get("agreement")), decimal(metrics.get("teacher_kl"))


def duration(seconds: float | None) -> str:
    """`45 s`, `12 min` or `3.5 h`."""
    if seconds is None:
        return "-"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def times_line(times: Times) -> str:
    """`data 10 s, teacher outputs 3 min, search 5 min, training 9 min`, without parts that took no time."""
    parts = asdict(times).items()
    return ", ".join(f"{part.replace('_', ' ')} {duration(seconds)}" for part, seconds in parts if seconds)


def moment(at: datetime) -> str:
    """`2026-11-28 14:03:07 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], numeric: Collection[int] = ()) -> Table:
    """A plain table; the `numeric` columns are aligned to the right.

    Where a terminal is too narrow for all columns, the others follow below, behind the first one again.

    Args:
        headings: Heading of each column.
        rows: Cells of each row, as many as there are headings.
        numeric: Indices of the columns to align to the right.
    """
    drawn = _FoldingTable(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for position, heading in enumerate(headings):
        right = position in numeric
        drawn.add_column(heading, justify="right" if right else "left", no_wrap=right)
    for row in rows:
        drawn.add_row(*map(Text, row))
    return drawn


class _FoldingTable(Table):
    """A table of which columns that find no room follow below."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for columns in self._parts(options.max_width):
            part = copy(self)
            part.columns = [replace(column, _index=index) for index, column in enumerate(columns)]
            yield from Table.__rich_console__(part, console, options)

    def _parts(self, width: int) -> Iterator[list[Column]]:
        """The columns that fit beside each other into a width, the first of all before each part of the others."""
        first, *others = self.columns
        part = [first]
        for column in others:
            if len(part) > 1 and sum(_width(each) + _GAP for each in [*part, column]) - 1 > width:
                yield part
                part = [first]
            part.append(column)
        yield part


def _width(column: Column) -> int:
    """Columns of a terminal that one of a table needs."""
    longest = max(cell_len(str(cell)) for cell in (column.header, *column.cells))
    return longest if column.no_wrap else min(longest, READABLE)


def facts_table(facts: Iterable[tuple[str, str]]) -> Table:
    """Names and values in two columns; no word is cut, however narrow the terminal: it may be a command to copy."""
    drawn = Table.grid(padding=(0, 2))
    drawn.add_column(style="dim", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in facts:
        drawn.add_row(name, Text(value))
    return drawn


def searches_table(progresses: Iterable[Progress]) -> Table:
    """A row for each search."""
    rows = [
        (
            progress.name,
            progress.status,
            f"{progress.finished}/{progress.n_trials}",
            percent(progress.best_accuracy),
            percent(progress.teacher_accuracy),
            count(progress.best_params),
        )
        for progress in progresses
    ]
    return table(("search", "status", "trials", "best", "teacher", "parameters"), rows, numeric=range(2, 6))


def budget_table(offers: Sequence["Offer"], teacher: "TeacherCost") -> Table:
    """What the space offers under each limit, beside what the teacher costs."""
    rows = [
        (
            offer.limit,
            "-" if offer.allowed is None else f"{offer.allowed:,}",
            count(getattr(teacher, offer.limit)),
            count(offer.smallest),
            count(offer.typical),
            count(offer.largest),
            "-" if offer.allowed is None else ("yes" if offer.satisfiable else "NO"),
        )
        for offer in offers
    ]
    headings = ("limit", "allowed", "teacher", "smallest", "typical", "largest", "satisfiable")
    return table(headings, rows, numeric=range(1, 7))


def reference_state(reference: ReferenceProgress) -> str:
    """How far a reference is, in a few words."""
    if reference.state == "failed":
        return f"failed: {reference.reason}"
    if reference.accuracy is None or reference.epochs is None:
        return "under way"
    size = f"{count(reference.params)} parameters, {count(reference.macs)} MACs"
    return f"{percent(reference.accuracy)} after {counted(reference.epochs, 'epoch')}, {size}"


def panel_lines(panel: PanelFacts | None) -> list[tuple[str, str]]:
    """A name and a sentence for each assistant, and for the weights of each rule if known; none without a panel."""
    if panel is None:
        return []
    facts = [("panel", f"{each.name}: {_assistant(each)}") for each in panel.assistants]
    return [*facts, *(("weights", _weights(panel, rule)) for rule in panel.weights)]


def _weights(panel: PanelFacts, rule: str) -> str:
    names = "teacher", *(each.name for each in panel.assistants)
    weights = ", ".join(f"{name} {weight:.2f}" for name, weight in zip(names, panel.weights[rule], strict=True))
    if rule != "de" or panel.accuracy is None:  # only these were measured
        return f"{weights} by {rule}"
    reached = f"{percent(panel.accuracy)}, equal ones {percent(panel.uniform_accuracy)}, on other validation samples"
    return f"{weights} by {rule}: {reached}"


def _assistant(assistant: AssistantFacts) -> str:
    size = "" if assistant.params is None else f", {count(assistant.params)} parameters"
    learnt = f"learnt from {' + '.join(assistant.learnt_from)}, " if assistant.learnt_from else ""
    agreement = f"agrees with the teacher on {percent(assistant.agreement)}"
    return f"{percent(assistant.accuracy)} validation accuracy{size}, {learnt}{agreement}"


def limits_used(used: Mapping[str, float]) -> str:
    """The share of each limit that a student uses, the tightest first: it is the one that bound its size."""
    others = sorted(used, key=lambda name: -used[name])[1:]
    words = [f"{tightest_limit(used)} used (the tightest)", *(f"{name} {100 * used[name]:.1f} %" for name in others)]
    return ", ".join(words)


def tightest_limit(used: Mapping[str, float]) -> str:
    """The limit of which a student uses the most, with its share: `params 99.8 %`."""
    name = max(used, key=lambda name: used[name])
    return f"{name} {100 * used[name]:.1f} %"


def training_state(training: Training) -> str:
    """How far a full-length training is, in a few words."""
    if training.state == "failed":
        return f"failed: {training.reason}"
    if training.state == "complete":
        return f"{percent(training.metrics['accuracy'])} after {counted(training.epochs, 'epoch')}"
    return f"epoch {training.epochs_done:g} of {training.epochs:g}{_pace(training)}{_place(training)}"


def evaluation_state(evaluation: RunningEvaluation) -> str:
    """How far an evaluation is, and where: `epoch 4 of 9, 660 images/s, about 12 s left, on node7:4711`."""
    return f"{_how_far(evaluation)}{_place(evaluation)}"


def _how_far(evaluation: RunningEvaluation) -> str:
    if evaluation.epochs_done is None:
        return f"up to {counted(evaluation.epochs, 'epoch')}"
    return f"epoch {evaluation.epochs_done:.3g} of {evaluation.epochs:g}{_pace(evaluation)}"


def _pace(under_way: RunningEvaluation | Training) -> str:
    """`, 660 images/s, about 12 s left`, as far as it is known."""
    speed, left = under_way.images_per_second, under_way.seconds_left
    return ("" if speed is None else f", {speed:,.0f} images/s") + (f", about {duration(left)} left" if left else "")


def _place(under_way: RunningEvaluation | Training) -> str:
    """`, on WORKER` or `, waits: REASON`, as far as it is known."""
    if under_way.worker is not None:
        return f", on {under_way.worker}"
    return "" if under_way.reason is None else f", waits: {under_way.reason}"
