"""How the accuracy of students grew with the length of their training, as far as it was measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autokd.analysis.scales import NAME_HEIGHT, accuracy_places, apart, label_accuracies
from autokd.analysis.style import BLUE, GREY, INK, ORANGE, VERMILION, explain, head
from autokd.searches.students import TrainedStudent
from autokd.searches.trial_record import TrialRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from autokd.searches.result import SearchResult

__all__ = ["Curve", "draw_curves", "learning_curves"]

MOST_CURVES = 200  # of trials
ASIDE = 1.04  # of a name: its distance from the end of its curve, as a factor of the epochs
COLOURS = {"trial": GREY, "reference": VERMILION, "winner": BLUE, "full length": ORANGE}
"""Of each kind of curve, in the order in which they are drawn."""


@dataclass(frozen=True)
class Curve:
    """Accuracies of one trial, reference or student.

    Attributes:
        kind: One of `COLOURS`.
        name: Of a reference; empty for the others.
        points: Epochs from the start of the training, and validation accuracy after them.
    """

    kind: str
    name: str
    points: Sequence[tuple[float, float]]


def learning_curves(result: "SearchResult", leading: Sequence[TrainedStudent]) -> list[Curve]:
    """The curve of each trial, of very many some that are spread evenly, of references and of full-length trainings.

    Within a search accuracies are measured at its rungs, of a full-length training at its end.

    Args:
        result: The search.
        leading: Its `leading` students, which take time to read.
    """
    rungs = result.problem.rungs
    best = next((student.trial.number for student in leading if student.trial.reference is None), None)
    trials = {record.trial.number: record for record in result.spread(MOST_CURVES)}
    if best is not None:
        trials[best] = result.trial(best)
    curves = [
        Curve("winner" if number == best else "trial", "", _points(record, rungs)) for number, record in trials.items()
    ]
    curves += [
        Curve("reference", reference.name, _points(result.trial(reference.name), rungs))
        for reference in result.progress.references
    ]
    curves += [
        Curve("full length", student.trial.reference or "", [(student.evaluation.epochs, student.metrics["accuracy"])])
        for student in leading
        if student.is_final
    ]
    return [curve for curve in curves if curve.points]


def draw_curves(axes: "Axes", curves: Sequence[Curve], teacher_accuracy: float) -> None:
    """Draw a line for each curve over the epochs, and the teacher's accuracy across.

    Args:
        axes: Where to draw.
        curves: At least one.
        teacher_accuracy: On the validation split.
    """
    for kind, colour in COLOURS.items():
        for position, curve in enumerate(one for one in curves if one.kind == kind):
            epochs, accuracies = zip(*curve.points, strict=True)
            places = accuracy_places([100 * accuracy for accuracy in accuracies])
            style: dict[str, Any] = {"linewidth": 0.8, "markersize": 3} if kind == "trial" else {"markersize": 5}
            axes.plot(epochs, places, "o-", color=colour, label=None if position else kind, **style)
    teacher = 100 * teacher_accuracy
    line = float(accuracy_places([teacher])[0])
    axes.axhline(line, color=ORANGE, linewidth=1.4, linestyle=(0, (5, 2)), label=f"teacher, {teacher:.2f} %")
    label_accuracies(axes.yaxis, [teacher, *(100 * accuracy for curve in curves for _, accuracy in curve.points)])
    _label_epochs(axes, sorted({epochs for curve in curves for epochs, _ in curve.points}))
    _name(axes, [curve for curve in curves if curve.name])
    axes.set(xlabel="epochs, logarithmic scale", ylabel="validation accuracy, %")
    head(axes, "Learning curves")
    explain(axes)


def _points(record: TrialRecord, rungs: Sequence[float]) -> list[tuple[float, float]]:
    return [(rungs[rung], value) for rung, value in record.values.items()]


def _name(axes: "Axes", curves: Sequence[Curve]) -> None:
    """Write the names of curves beside their ends."""
    lower, upper = axes.get_ylim()
    ends = [curve.points[-1] for curve in curves]
    places = accuracy_places([100 * accuracy for _, accuracy in ends]).tolist()
    heights = apart(places, (upper - lower) * NAME_HEIGHT)
    for curve, (epochs, _), height in zip(curves, ends, heights, strict=True):
        axes.text(epochs * ASIDE, height, curve.name, va="center", size=8, color=INK, parse_math=False)


def _label_epochs(axes: "Axes", epochs: Sequence[float]) -> None:
    """Label the lengths that there are, with room for names of references on the right."""
    axes.set_xscale("log")
    axes.set_xticks(epochs, [f"{each:g}" for each in epochs])
    axes.minorticks_off()
    axes.set_xlim(epochs[0] / 1.2, epochs[-1] * (epochs[-1] / epochs[0]) ** 0.25 * 1.2)
