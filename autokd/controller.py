"""The controller: ask -> submit -> record -> tell, nothing else.

The database is the truth. What happens next is decided from the rows alone, so going on after an interruption is the
same code as starting: open evaluations are submitted, a judged trial climbs or ends, and a free worker gets a new
trial.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from autokd.database.lease import Lease
from autokd.database.store import Store
from autokd.dispatch import Dispatcher
from autokd.ladder import Ladder, ladders
from autokd.problem import Problem
from autokd.signals import ACCURACY
from autokd.students import add_student
from search_spaces.errors import BudgetError

__all__ = ["Controller"]


@dataclass(frozen=True)
class Controller:
    """Runs a search until it has its trials.

    `run` may be left by an exception at any point, KeyboardInterrupt included: every write is one transaction, and
    the next controller goes on from the rows.

    Attributes:
        store: The database.
        lease: The right to write to this search.
        problem: What is searched.
        dispatcher: Sends evaluations to workers.
    """

    store: Store
    lease: Lease
    problem: Problem
    dispatcher: Dispatcher

    def run(self) -> None:
        """Search until all trials are finished.

        Raises:
            InputError: If data or teacher are gone, or the teacher does not give the signal that trials are judged by.
            LeaseLost: If another controller took the search over.
        """
        self.dispatcher.prepare(self.problem.plan)
        self.problem.check_signal()
        while True:
            rows = ladders(self.store, self.lease.search_id)
            running = [ladder for ladder in rows.values() if ladder.trial.state == "running"]
            if any(self._advance(ladder, rows) for ladder in running):
                continue  # something was written: look again
            if self.dispatcher.has_room and self.problem.wants_trial(rows.values()):
                self._open_trial(rows)
            elif self.dispatcher.is_idle:
                return
            else:
                self.dispatcher.wait()

    @property
    def _by_signal(self) -> str:
        signal = self.problem.signal
        return "" if signal == ACCURACY else f" by {signal.metric}"

    def _open_trial(self, rows: Mapping[int, Ladder]) -> None:
        number = len(rows)
        self.store.open_trial(self.lease, number, self.problem.propose(rows.values(), number))
        self.dispatcher.on_change()

    def _advance(self, ladder: Ladder, rows: Mapping[int, Ladder]) -> bool:
        """Take a running trial one step on, if it has one to take; whether it had."""
        if len(ladder.students) < self.problem.config.students_per_trial:
            return self._draw_student(ladder, rows)
        if ladder.running:
            self._submit_running(ladder)
            return False
        if ladder.failure:
            return self._finish(ladder, "failed", ladder.failure)
        rung = max(ladder.values, default=-1)
        if rung == self.problem.last_rung:
            return self._finish(ladder, "complete", None)
        if rung >= 0 and not ladder.started(rung + 1) and self.problem.prunes(rows.values(), ladder):
            return self._finish(ladder, "pruned", f"not among the best{self._by_signal} at rung {rung}")
        return self._open_evaluations(ladder, rung + 1)

    def _draw_student(self, ladder: Ladder, rows: Mapping[int, Ladder]) -> bool:
        replicate = len(ladder.students)
        try:
            architecture, cost = self.problem.draw(ladder.trial, replicate)
        except BudgetError as error:
            return self._finish(ladder, "failed", f"BudgetError: {error}")
        warm_from = self.problem.warm_from(rows.values(), ladder.trial, architecture)
        add_student(self.store, self.lease, ladder.trial, replicate, "search", architecture, cost, warm_from)
        return True

    def _open_evaluations(self, ladder: Ladder, rung: int) -> bool:
        for student in ladder.to_open(rung):
            task = self.problem.task(ladder.trial, student, rung)
            self.store.open_evaluation(self.lease, student.id, rung, task.epochs, task.key)
        return True

    def _submit_running(self, ladder: Ladder) -> None:
        students = {student.id: student for student in ladder.students}
        for row in ladder.running:
            self.dispatcher.submit(row, self.problem.task(ladder.trial, students[row.student_id], row.rung))

    def _finish(self, ladder: Ladder, state: Literal["complete", "pruned", "failed"], reason: str | None) -> bool:
        value = ladder.values[max(ladder.values)] if ladder.values and state != "failed" else None
        self.store.finish_trial(self.lease, ladder.trial.id, state, value, reason)
        self.dispatcher.on_change()
        return True
