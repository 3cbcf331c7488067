"""Students: recorded when drawn, and found again with the weights of their longest evaluation."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import nn

from autokd.data.registry import load_data
from autokd.database.lease import Lease
from autokd.database.reading import Reader
from autokd.database.rows import EvaluationRow, Purpose, StudentRow, TrialRow
from autokd.database.store import Store
from autokd.database.summaries import best_student_trial_id, longest_trial_ids
from autokd.errors import InputError
from autokd.evaluation.task import weights_file
from autokd.export.module import StudentModule
from autokd.searches.problem import Problem
from autokd.searches.tables import count, counted, percent
from autokd.searches.trial_record import AT_ONCE
from autokd.training.checkpoint import load_weights
from search_spaces.architecture.cost import Cost
from search_spaces.architecture.format import Architecture
from search_spaces.design.budget import Budget
from search_spaces.networks.network import build

__all__ = [
    "TrainedStudent",
    "add_student",
    "as_asked_for",
    "best_students",
    "leading_students",
    "reference_students",
    "trained_references",
    "trained_students",
    "with_architectures",
]


@dataclass(frozen=True, repr=False)
class TrainedStudent:
    """A student with the weights of its longest training.

    Attributes:
        problem: What its search searches.
        trial: The trial of its family, or the reference that it is.
        row: Its architecture and cost.
        evaluation: Its longest complete training.
        weights: File of its weights at the end of that training.
    """

    problem: Problem = field(compare=False)
    trial: TrialRow
    row: StudentRow
    evaluation: EvaluationRow
    weights: Path

    def __repr__(self) -> str:
        size = f"{count(self.row.params)} parameters, {count(self.row.macs)} MACs"
        accuracy = f"{percent(self.metrics.get('accuracy'))} validation accuracy"
        epochs = counted(self.evaluation.epochs, "epoch")
        origin = f"reference {self.trial.reference}" if self.trial.reference else f"trial {self.trial.number}"
        return f"<TrainedStudent of {origin}: {size}, {accuracy} after {epochs}>"

    @property
    def architecture(self) -> Architecture:
        """The student's architecture."""
        return Architecture.from_dict(dict(self.row.architecture))

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics at the end of the training."""
        return dict(self.evaluation.metrics or {})

    def cost(self, name: str) -> int:
        """One of the costs of its architecture, such as `params` or `memory_bytes`."""
        return int(getattr(self.row.cost, name))

    @property
    def is_final(self) -> bool:
        """Whether the student was retrained at full length."""
        return self.row.purpose == "final"

    def module(self) -> StudentModule:
        """A module that takes samples as the data set holds them and gives logits, in evaluation mode, on the CPU.

        Images are uint8, `batch x channels x height x width`; signals and vectors are uint8 or float32 as in the data
        set, channels first. They have the channels of `data.student_channels` alone. It normalises them itself, as the
        exported `model.py` with its `preprocess` does.

        Raises:
            InputError: If the file of its weights is gone or damaged, or the data whose type it needs to know are.
        """
        shape = self.problem.facts.input_shape
        is_float = len(shape) < 3 and load_data(self.problem.config.data).scale == 1.0  # images are always uint8
        return StudentModule(self.network(), self.problem.facts.normalisation, len(shape), is_float)

    def network(self) -> nn.Module:
        """The bare network for samples that are normalised as in training, in evaluation mode, on the CPU.

        Raises:
            InputError: If the file of its weights is gone or damaged.
        """
        if not self.weights.exists():
            way = "`autokd train` with the settings of its training" if self.is_final else "`autokd train`"
            raise InputError(
                f"the weights of this student are gone, or were not told: there is no {self.weights}; of trials that "
                f"have ended, those that `autokd best` and `autokd pareto` choose stay; {way} makes new ones."
            )
        network = build(self.architecture)
        network.load_state_dict(load_weights(self.weights))
        return network.eval()


def trained_students(
    problem: Problem,
    store: Reader,
    search_id: int,
    trials: Collection[int] | None = None,
    architectures: bool = True,
) -> Sequence[TrainedStudent]:
    """All students with a complete evaluation, without references and those of failed trials; the best first.

    Retrained ones come first, then those that trained longest, and within each those of highest validation accuracy.

    Args:
        problem: What is searched.
        store: The search's database.
        search_id: Id of the search.
        trials: Ids of the trials whose students to read; None for all.
        architectures: Whether to read the architectures, which takes most of the time; see `with_architectures`.
    """
    return _trained(problem, store, search_id, store.trials(search_id, trials), trials, architectures)


def best_students(problem: Problem, store: Reader, search_id: int, within: Budget) -> Sequence[TrainedStudent]:
    """Some of `trained_students`, in the same order: the first of these and of all that keep the limits are the same.

    Args:
        problem: What is searched.
        store: The search's database.
        search_id: Id of the search.
        within: The limits.
    """
    best = best_student_trial_id(store, search_id, within.limits)
    trials = _retrained(store, search_id) | ({best} if best is not None else set())
    return trained_students(problem, store, search_id, trials, architectures=False)


def as_asked_for(
    problem: Problem, store: Reader, search_id: int, students: Collection[TrainedStudent]
) -> list[TrainedStudent]:
    """Students of full length after the training that `final` asks for now, where that is complete; the best first.

    Args:
        problem: What is searched.
        store: The search's database.
        search_id: Id of the search.
        students: The students, after their longest training.
    """
    rows = {row.key: row for row in store.evaluations(search_id, "final") if row.state == "complete"}
    found = []
    for student in students:
        task = problem.task(student.trial, student.row, rung=0)
        row = rows.get(task.key)
        found.append(student if row is None else replace(student, evaluation=row, weights=task.weights))
    return sorted(found, key=_rank)


def trained_references(problem: Problem, store: Reader, search_id: int) -> Sequence[TrainedStudent]:
    """References with a complete evaluation, the best first; one a name, with the weights of its longest training.

    Args:
        problem: What is searched.
        store: The search's database.
        search_id: Id of the search.
    """
    found: dict[str | None, TrainedStudent] = {}
    for student in reference_students(problem, store, search_id):
        found.setdefault(student.trial.reference, student)
    return list(found.values())


def reference_students(problem: Problem, store: Reader, search_id: int) -> Sequence[TrainedStudent]:
    """All students of references with a complete evaluation, searched and retrained ones; the best first.

    Of the references of one name only the latest counts, if it has not failed.

    Args:
        problem: What is searched.
        store: The search's database.
        search_id: Id of the search.
    """
    latest = {row.reference: row for row in store.references(search_id)}
    return _trained(problem, store, search_id, list(latest.values()), [row.id for row in latest.values()])


def leading_students(problem: Problem, store: Reader, search_id: int) -> Sequence[TrainedStudent]:
    """What `trained_students` and then `reference_students` give, as far as it trained longest or at full length.

    Others of the same trials may be among them. Students are without their architectures.

    Args:
        problem: What is searched.
        store: The search's database.
        search_id: Id of the search.
    """
    ids = sorted({*longest_trial_ids(store, search_id), *_retrained(store, search_id)})
    students = [
        student
        for start in range(0, len(ids), AT_ONCE)
        for student in trained_students(problem, store, search_id, ids[start : start + AT_ONCE], architectures=False)
    ]
    return [*sorted(students, key=_rank), *reference_students(problem, store, search_id)]


def with_architectures(store: Reader, search_id: int, students: Collection[TrainedStudent]) -> list[TrainedStudent]:
    """A few students that were read without their architectures, with them.

    Args:
        store: The search's database.
        search_id: Id of the search.
        students: The students.
    """
    rows = store.students(search_id, trials={student.trial.id for student in students})
    row_of = {row.id: row for row in rows}
    return [replace(student, row=row_of[student.row.id]) for student in students]


def add_student(
    store: Store,
    lease: Lease,
    trial: TrialRow,
    replicate: int,
    purpose: Purpose,
    architecture: Architecture,
    cost: Cost,
    warm_from: str | None = None,
) -> StudentRow:
    """Record a student drawn from a trial's family, and whose weights it inherits.

    Args:
        store: The search's database.
        lease: Lease of the search.
        trial: Trial from whose family the student is drawn.
        replicate: Number of the draw, counted from 0 within the trial and purpose.
        purpose: "search" to evaluate the family, "final" to be retrained and delivered.
        architecture: The student's architecture.
        cost: Its cost.
        warm_from: Key of the evaluation whose weights the student inherits; None for fresh weights.
    """
    return store.add_student(
        lease,
        trial.id,
        replicate,
        purpose,
        digest=architecture.digest,
        architecture=architecture.to_dict(),
        params=cost.params,
        macs=cost.macs,
        activation_bytes=cost.activation_bytes,
        model_bytes=cost.model_bytes,
        warm_from=warm_from,
    )


def _retrained(store: Reader, search_id: int) -> set[int]:
    """Ids of the trials and references of which students were trained at full length."""
    return {student.trial_id for student in store.students(search_id, "final", architectures=False)}


def _trained(
    problem: Problem,
    store: Reader,
    search_id: int,
    trials: Sequence[TrialRow],
    ids: Collection[int] | None,
    architectures: bool = True,
) -> list[TrainedStudent]:
    """The students with a complete evaluation of those of the trials that have not failed, the best first.

    Args:
        problem: What is searched.
        store: The search's database.
        search_id: Id of the search.
        trials: The trials.
        ids: Ids of the trials; None if they are all of the search.
        architectures: Whether to read the architectures.
    """
    trial_of = {trial.id: trial for trial in trials if trial.state != "failed"}
    row_of = {row.id: row for row in store.students(search_id, trials=ids, architectures=architectures)}
    rows = store.evaluations(search_id, trials=ids)
    complete = [row for row in rows if row.state == "complete" and row.trial_id in trial_of]
    longest = {row.student_id: row for row in sorted(complete, key=_length)}
    found = []
    for student_id, evaluation in longest.items():
        row = row_of[student_id]
        weights = weights_file(problem.evaluations, evaluation.key)
        found.append(TrainedStudent(problem, trial_of[row.trial_id], row, evaluation, weights))
    return sorted(found, key=_rank)


def _length(row: EvaluationRow) -> tuple[float, float, int]:
    """What orders the complete trainings of a student, the one that counts last: of equal lengths the more accurate."""
    return row.epochs, (row.metrics or {}).get("accuracy", 0.0), row.rung


def _rank(student: TrainedStudent) -> tuple[bool, float, float, int]:
    """Full length before rungs, and of these the higher ones, then the more accurate, however long full length was."""
    rung = -1 if student.is_final else student.evaluation.rung
    return (not student.is_final, -rung, -student.metrics["accuracy"], student.row.id)
