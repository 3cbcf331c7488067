"""What a search found: its best student, with all that is told of it, each read once."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from autokd.database.rows import SearchRow
from autokd.searches.axes import three_axes
from autokd.searches.comparison import Comparison, describe_references
from autokd.searches.pace import full_length_of
from autokd.searches.panel_facts import PanelFacts, panel_json
from autokd.searches.problem import Problem
from autokd.searches.progress import ReferenceProgress
from autokd.searches.remarks import student_remarks
from autokd.searches.result import SearchResult
from autokd.searches.stopping import Outlook
from autokd.searches.students import TrainedStudent
from autokd.searches.tables import count, counted, duration, limits_used, panel_lines, teacher_cells, times_line
from autokd.searches.times import Times
from search_spaces.design.budget import Budget

if TYPE_CHECKING:
    from autokd.searches.families import Family

__all__ = ["Findings", "full_length_lines", "student_json"]

NO_LIMITS = Budget()


@dataclass(frozen=True)
class Findings:
    """The best student of a search with all that is told of it, each read once.

    Attributes:
        student: The student.
        search: Its search.
        references: The references that were trained, the best first.
        left_out: Those that failed; each says why.
        comparison: The student beside the best reference trained as long; None before there is one.
        axes: Its figures beside its teacher's, from `three_axes`.
        search_cost: What all trainings cost.
        times: What the search spent its time on.
        families: The families searched, the best first, with what the model believes.
        outlook: What it believes of the winner, whatever its size, and of further trials.
        within: Further limits that the student keeps.
    """

    student: TrainedStudent
    search: SearchRow
    references: Sequence[TrainedStudent]
    left_out: Sequence[ReferenceProgress]
    comparison: Comparison | None
    axes: Mapping[str, Mapping[str, Any]]
    search_cost: Mapping[str, float | None]
    times: Times
    families: "Sequence[Family]"
    outlook: Outlook | None
    within: Budget = NO_LIMITS

    @classmethod
    def of(cls, result: SearchResult, within: Budget = NO_LIMITS) -> "Findings":
        """What a search found.

        Args:
            result: The search.
            within: Further limits that the student keeps.

        Raises:
            InputError: If there is no such student yet.
        """
        student, search = result.best_within(within), result.row
        families, outlook = result.judgement
        return cls(
            student=student,
            search=search,
            references=result.references,
            left_out=[one for one in result.progress.references if one.state == "failed"],
            comparison=result.compare(student),
            axes=three_axes(student, search),
            search_cost=result.search_cost,
            times=result.times,
            families=families,
            outlook=outlook,
            within=within,
        )

    @property
    def problem(self) -> Problem:
        """What was searched."""
        return self.student.problem

    @property
    def remarks(self) -> list[str]:
        """What is remarkable about the student and its teacher."""
        return student_remarks(self.student, self.search)

    @property
    def distillation(self) -> dict[str, Any]:
        """The method and its settings."""
        return dict(self.problem.methods.chosen(self.student.trial.parameters))

    @property
    def panel(self) -> PanelFacts | None:
        """The assistants of the search, or those on the student's path, with their weights if these taught it."""
        return self.problem.panel_for(self.student.trial)

    @property
    def limits_used(self) -> dict[str, float]:
        """Share of each limit that the student uses."""
        return self.problem.budget.utilisation(self.student.row.cost)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Words and sentences: where the student comes from, how it compares, and what it cost to find it."""
        student, settings = self.student, self.distillation
        method = settings.pop("method")
        lines = [
            ("trial", str(student.trial.number)),
            ("family", self.problem.describe(student.trial)),
            ("distilled", f"by {method}" + (f": {_settings(settings)}" if settings else "")),
            ("trained", _length(student)),
            *panel_lines(self.panel),
            *self.outlook_facts,
            *([("compared", str(self.comparison))] if self.comparison else []),
            *(("left out", f"{one.name}: {one.reason}") for one in self.left_out),
            ("time", times_line(self.times)),
        ]
        if "agreement" in student.metrics:
            agreement, divergence = teacher_cells(student.metrics)
            lines.append(("agrees", f"with the teacher on {agreement} of the validation samples, KL {divergence} nats"))
        if shares := _relative_accuracies(self.axes):
            lines.append(("relative", ", ".join(shares)))
        return [
            *lines,
            ("limits", limits_used(self.limits_used)),
            ("cost", _cost_line(self.search_cost)),
            *(("note", line) for line in self.remarks),
        ]

    @property
    def outlook_facts(self) -> list[tuple[str, str]]:
        """Facts of the outlook, whose winner may be another trial than the student's.

        It may exceed the further limits, or full length may have made another trial's student the best.
        """
        if self.outlook is None:
            return []
        (word, winner), *further = self.outlook.facts
        when = "without further limits" if self.within.limits else "before training at full length"
        if self.student.trial.number != self.outlook.trial and (self.within.limits or self.student.is_final):
            word, winner = "believed", f"{when}: {winner}"
        return [(word, winner), *further]

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        teacher = {key: value for key, value in self.search.facts.items() if key.startswith("teacher")}
        return {
            **student_json(self.student),
            "search": self.search.name,
            "distillation": self.distillation,
            **teacher,
            **describe_references(self.references, self.comparison),
            "left_out": [{"name": one.name, "reason": one.reason} for one in self.left_out],
            "panel": panel_json(self.panel),
            "full_length": full_length_of(self.student),
            "seconds": asdict(self.times),
            "axes": self.axes,
            "limits": {"allowed": self.problem.budget.limits, "used": self.limits_used},
            "search_cost": self.search_cost,
            "outlook": self.outlook and asdict(self.outlook),
            "energy": None,  # not measured
            "remarks": self.remarks,
        }


def student_json(student: TrainedStudent) -> dict[str, Any]:
    """A student with its costs and metrics as plain values."""
    return {
        "trial": student.trial.number,
        "parameters": student.trial.parameters,
        "replicate": student.row.replicate,
        "digest": student.row.digest,
        "params": student.row.params,
        "macs": student.row.macs,
        "activation_bytes": student.row.activation_bytes,
        "model_bytes": student.row.model_bytes,
        "memory_bytes": student.row.cost.memory_bytes,
        "epochs": student.evaluation.epochs,
        "is_final": student.is_final,
        "metrics": student.metrics,
    }


def full_length_lines(problem: Problem) -> list[str]:
    """Length of the full-length trainings with its reason, if it follows from the time that they may take."""
    length = problem.full_length
    return [] if length is None else [length.describe(problem.config.final.epochs)]


def _length(student: TrainedStudent) -> str:
    """Length of a student's training, with its reason if it follows from the time that it may take."""
    epochs = student.evaluation.epochs
    if not student.is_final:
        return f"{counted(epochs, 'epoch')} (search only)"
    decided = full_length_lines(student.problem) if full_length_of(student) else []
    return "".join(decided) or counted(epochs, "epoch")


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )


def _relative_accuracies(axes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Accuracy of the student in per cent of its teacher's, on each split on which both are known."""
    parts = {"validation": axes["effectiveness"], "test": axes.get("test_effectiveness", {})}
    relative = {split: part.get("relative_accuracy") for split, part in parts.items()}
    return [f"{share:.1f} % of the teacher's {split} accuracy" for split, share in relative.items() if share]


def _cost_line(cost: Mapping[str, float | None]) -> str:
    images, teacher_images = (_whole(cost[name]) for name in ("images", "teacher_images"))
    worked = duration(cost["worker_seconds"])
    return f"{worked} of workers, {images} training images, {teacher_images} teacher images; energy not measured"


def _whole(number: float | None) -> str:
    return count(None if number is None else int(number))
