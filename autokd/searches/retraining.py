"""Retraining of students of the best families at full length, of which the best is kept, and of references."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from autokd.database.lease import Lease
from autokd.database.reading import Reader
from autokd.database.rows import EvaluationRow, Purpose, StudentRow, TrialRow
from autokd.database.store import Store
from autokd.errors import AutoKDError
from autokd.evaluation.task import EvaluationTask
from autokd.searches.dispatcher import Dispatcher
from autokd.searches.problem import Problem
from autokd.searches.progress import Training
from autokd.searches.retention import Retention, remove_surplus
from autokd.searches.students import add_student
from autokd.searches.tables import counted
from autokd.searches.trial_record import TrialRecord
from autokd.searches.under_way import HowFar, how_far
from autokd.teachers.registry import Teacher
from autokd.training.metrics import label_metrics
from search_spaces.architecture.format import Architecture
from search_spaces.design.budget import Budget
from search_spaces.errors import SpaceError

__all__ = ["Retraining", "teacher_on_test", "trainings"]


@dataclass(frozen=True)
class Retraining:
    """Trains students of the best families at full length, and continues after interruptions.

    The first student of each is the very architecture that was searched, the others are new draws of its family. Each
    reference is trained once, with the architecture that it had in the search. The teacher's outputs are stored before.

    Attributes:
        store: The database.
        lease: The right to write to this search.
        problem: What is searched.
        dispatcher: Sends trainings to workers.
        trials: The trials whose families and distillation settings win.
        references: References to train beside it.
        within: Further limits; draws that exceed them are left out, recorded ones too.
    """

    store: Store
    lease: Lease
    problem: Problem
    dispatcher: Dispatcher
    trials: Sequence[TrialRow]
    references: Sequence[TrialRecord] = ()
    within: Budget = field(default_factory=Budget)

    def run(self) -> None:
        """Train every student and reference at full length, also students whose weights are gone.

        Raises:
            DiskFullError: If the disk has no room for them.
            AutoKDError: If all trainings of students failed.
        """
        self.problem.check_space()
        students = [(trial, student) for trial in self.trials for student in self._students(trial)]
        if not students:
            numbers = ", ".join(str(trial.number) for trial in self.trials)
            raise AutoKDError(f"no student of the winning families can be drawn (trials {numbers}).")
        referring = [(record.trial, self._reference(record)) for record in self.references]
        opened = [self._opened(trial, student) for trial, student in (*students, *referring)]
        for row, task in opened:
            if row.state == "running":
                self._submit(row, task)
        while not self.dispatcher.is_idle:
            self.dispatcher.heed_stop()
            self.dispatcher.wait()
        rows = self.store.evaluations(self.lease.search_id, "final")
        if any(row.state == "running" for row in rows):  # they were taken back
            self.dispatcher.heed_stop()
        self._renew([task for row, task in opened[: len(students)] if row.state == "complete"])
        remove_surplus(self.store, self.lease.search_id, Retention.of(self.problem))
        self._check({self.problem.task(trial, student, rung=0).key for trial, student in students})

    def _opened(self, trial: TrialRow, student: StudentRow) -> tuple[EvaluationRow, EvaluationTask]:
        """The recorded training of a student, and what a worker does for it."""
        task = self.problem.task(trial, student, rung=0)
        rung = self._rung(student, task)
        return self.store.open_evaluation(self.lease, student.id, rung, task.epochs, task.key), task

    def _renew(self, complete: Sequence[EvaluationTask]) -> None:
        """Train anew the students that lost their weights since; the rows stay as they are.

        References are left alone: of a shorter training of theirs no weights are kept.
        """
        if lost := [task for task in complete if not task.weights.exists()]:
            students = counted(len(lost), "student")
            self.dispatcher.on_notify(f"the weights of {students} trained at full length are gone: training anew")
            self.dispatcher.evaluated(lost, "a student whose weights are gone cannot be trained anew")

    def _submit(self, row: EvaluationRow, task: EvaluationTask) -> None:
        """Send a training to a worker, once one is free."""
        while self.dispatcher.room <= 0:
            self.dispatcher.heed_stop()
            self.dispatcher.wait()
        self.dispatcher.submit(row, task)

    def _reference(self, record: TrialRecord) -> StudentRow:
        """The student of a reference to train."""
        searched = record.students[0]
        architecture = Architecture.from_dict(dict(searched.architecture))
        return add_student(self.store, self.lease, record.trial, 0, "final", architecture, searched.cost)

    def _rung(self, student: StudentRow, task: EvaluationTask) -> int:
        """The recorded rung of this training, or the next free one; other lengths or settings have other rungs."""
        of_trial = self.store.evaluations(self.lease.search_id, "final", [student.trial_id])
        rows = [row for row in of_trial if row.student_id == student.id]
        return next((row.rung for row in rows if row.key == task.key), len(rows))

    def _students(self, trial: TrialRow) -> list[StudentRow]:
        """The students of a family to train: draws within the limits, without those that the space refuses."""
        rows = self.store.students(self.lease.search_id, "final", [trial.id])
        there = {row.replicate: row for row in rows}
        students = []
        for replicate in range(self.problem.config.final.students):
            with suppress(SpaceError):
                students.append(there.get(replicate) or self._add(trial, replicate))
        return [student for student in students if self.within.fits(student.cost)]

    def _add(self, trial: TrialRow, replicate: int) -> StudentRow:
        purpose: Purpose = "search" if replicate == 0 else "final"
        architecture, cost = self.problem.draw(trial, replicate, purpose)
        self.within.check(cost, f"draw {replicate} of the family of trial {trial.number}")
        return add_student(self.store, self.lease, trial, replicate, "final", architecture, cost)

    def _check(self, keys: Collection[str]) -> None:
        rows = [row for row in self.store.evaluations(self.lease.search_id, "final") if row.key in keys]
        if all(row.state == "failed" for row in rows):
            raise AutoKDError(f"all {len(rows)} full-length trainings failed; the first: {rows[0].reason}.")


def trainings(problem: Problem, store: Reader, search_id: int) -> list[Training]:
    """Progress of a search's retrainings, read from their checkpoints.

    Trainings of another length than the one that is configured now are left out.

    Args:
        problem: What is searched.
        store: The search's database.
        search_id: Id of the search.
    """
    students = {student.id: student for student in store.students(search_id, "final")}
    ids = {student.trial_id for student in students.values()}
    trials = {trial.id: trial for trial in (*store.trials(search_id, ids), *store.references(search_id))}
    found = []
    for row in store.evaluations(search_id, "final"):
        if row.student_id in students:
            student, trial = students[row.student_id], trials[row.trial_id]
            task = problem.task(trial, student, rung=0)
            if row.key != task.key:
                continue
            reached = _reached(row, problem)
            found.append(
                Training(
                    trial=trial.number,
                    replicate=student.replicate,
                    params=student.params,
                    state=row.state,
                    epochs=row.epochs,
                    epochs_done=reached.epochs_done,
                    metrics=dict(row.metrics or {}),
                    reason=row.reason,
                    reference=trial.reference,
                    worker=row.worker,
                    images_per_second=reached.images_per_second,
                    ends_at=reached.ends_at,
                )
            )
    return found


def _reached(row: EvaluationRow, problem: Problem) -> HowFar:
    """How far a training is, in whole epochs until it is complete; when it ends only while a worker has it."""
    if row.state == "complete":
        return HowFar(row.epochs)
    found = how_far(problem.evaluations, row.key, row.epochs, problem.facts.n_train) or HowFar(0.0)
    whole = replace(found, epochs_done=found.epochs_done // 1)
    return whole if row.state == "running" and row.reason is None else whole.waiting


def teacher_on_test(problem: Problem, teacher: Teacher | None) -> dict[str, Any]:
    """The teacher's test metrics, as a fact to compare the winners with; none if the teacher is gone.

    Args:
        problem: The search.
        teacher: The teacher, where it was given as an object.
    """
    if problem.context.teacher.source is None and teacher is None:
        return {}
    context, device = problem.context, torch.device(problem.facts.device)
    dataset = context.load_data()
    asked = (teacher or context.load_teacher(0, dataset)).to(device)
    if not asked.knows("test"):
        return {}
    logits = asked.on_split(dataset, "test", device)
    temperature = problem.facts.teacher_metrics.get("scaling_temperature")
    return {"teacher_test_metrics": label_metrics(logits, dataset.test.labels.to(device), temperature)}
