"""Sends evaluations to workers and records what comes back."""

from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import TypeVar

from autokd.database.lease import Lease
from autokd.database.rows import EvaluationRow
from autokd.database.store import Store
from autokd.errors import AutoKDError, InputError
from autokd.evaluation.context import TrainingContext
from autokd.evaluation.evaluate import evaluate
from autokd.evaluation.precompute import check_room, missing_outputs, output_shapes, precompute_outputs
from autokd.evaluation.prune import prune_round
from autokd.evaluation.task import EvaluationResult, EvaluationTask
from autokd.searches.tables import percent
from autokd.teachers.outputs.key import OutputsKey
from autokd.teachers.pruned import PrunedTeachers
from workers.base import Executor
from workers.errors import UnguardedMain, WorkerError, WorkerLost

__all__ = ["Dispatcher"]

T = TypeVar("T")

TICK_SECONDS = 2.0
ATTEMPTS = 3  # at an evaluation whose worker is lost, before it counts as failed


@dataclass
class Dispatcher:
    """The evaluations in flight.

    Attributes:
        store: Where results are recorded.
        lease: The right to write there.
        executor: Where evaluations run.
        on_change: Called after everything that is recorded, and every few seconds while waiting.
        on_prepared: Called with the number of views and splits whose answers are stored, and of those needed.
        on_notify: Called with a line that the user should read.
    """

    store: Store
    lease: Lease
    executor: Executor
    on_change: Callable[[], None] = lambda: None
    on_prepared: Callable[[int, int], None] = lambda ready, needed: None
    on_notify: Callable[[str], None] = lambda line: None
    _in_flight: dict[Future[EvaluationResult], tuple[EvaluationRow, EvaluationTask]] = field(default_factory=dict)
    _lost: Counter[int] = field(default_factory=Counter)

    @property
    def has_room(self) -> bool:
        """Whether a worker is free."""
        return len(self._in_flight) < self.executor.capacity

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in flight."""
        return not self._in_flight

    def submit(self, row: EvaluationRow, task: EvaluationTask) -> None:
        """Send an open evaluation to a worker, unless it is in flight already."""
        if all(sent.id != row.id for sent, _ in self._in_flight.values()):
            self._in_flight[self.executor.submit(evaluate, task)] = (row, task)

    def wait(self) -> None:
        """Wait until at least one evaluation in flight ends, and record each that did.

        Raises:
            InputError: If an evaluation failed because data or teacher are gone, as all others would.
        """
        done = _first(self._in_flight, self.on_change)
        for future in sorted(done, key=lambda future: self._in_flight[future][0].id):
            row, task = self._in_flight.pop(future)
            self._record(row, task, future)
            self.on_change()

    def prepare(self, context: TrainingContext) -> None:
        """Let the workers prune teachers, then precompute all teachers' outputs.

        The outputs are those for all views, in chunks, and for the other splits.

        Raises:
            InputError: If data or teacher are gone, or the disk has no room.
            AutoKDError: If a worker cannot train a pruned teacher, or compute a view, within its limits.
        """
        if context.pruned is not None:
            for rounds in context.pruned.missing:
                self._prune(context, context.pruned, rounds)
        missing = missing_outputs(context)
        check_room(context, missing)
        if missing or context.needs:
            self._notify_fall_back(context)
        needed = len(context.outputs_needed)
        pending = {self.executor.submit(precompute_outputs, context, key): key for key in missing}
        lost = Counter[OutputsKey]()

        def unready() -> int:
            return len({key._replace(chunk=None) for key in pending.values()})

        def report() -> None:
            self.on_prepared(needed - unready(), needed)

        while pending:
            for future in _first(pending, report):
                key = pending.pop(future)
                try:
                    future.result()
                except UnguardedMain as error:
                    raise InputError(str(error)) from None
                except WorkerError as error:
                    lost[key] += 1
                    if not isinstance(error, WorkerLost) or lost[key] == ATTEMPTS:
                        raise AutoKDError(f"the teacher's outputs cannot be computed: {_reason(error)}") from error
                    pending[self.executor.submit(precompute_outputs, context, key)] = key
            self.store.record_event(self.lease, "teacher", {"views": needed, "missing": unready()})
            report()

    def _prune(self, context: TrainingContext, files: PrunedTeachers, rounds: int) -> None:
        """Let a worker do a round of pruning; one that is lost is replaced."""
        for attempt in range(1, ATTEMPTS + 1):
            future = self.executor.submit(prune_round, context, rounds)
            _first([future], self.on_change)
            try:
                future.result()
                break
            except InputError:
                raise
            except UnguardedMain as error:
                raise InputError(str(error)) from None
            except Exception as error:
                if not isinstance(error, WorkerLost) or attempt == ATTEMPTS:
                    raise AutoKDError(f"the teacher cannot be pruned: {_reason(error)}") from error
        accuracy = float(files.result(rounds)["accuracy"])
        self.store.record_event(self.lease, "pruned", {"rounds": rounds, "of": files.n_rounds, "accuracy": accuracy})
        self.on_notify(f"teacher pruned, round {rounds} of {files.n_rounds}: {percent(accuracy)} validation accuracy")

    def _notify_fall_back(self, context: TrainingContext) -> None:
        line = context.disk_budget(output_shapes(context)).fall_back
        if line is not None:
            self.store.record_event(self.lease, "fall-back", {"line": line})
            self.on_notify(line)

    def _record(self, row: EvaluationRow, task: EvaluationTask, future: Future[EvaluationResult]) -> None:
        try:
            result = future.result()
        except InputError:
            raise
        except UnguardedMain as error:
            raise InputError(str(error)) from None
        except WorkerLost as error:
            self._lost[row.id] += 1
            if self._lost[row.id] < ATTEMPTS:
                self.submit(row, task)
            else:
                self.store.fail_evaluation(self.lease, row.id, f"{error} ({ATTEMPTS} times)")
        except Exception as error:  # a network that cannot be trained ends its trial, not the search
            self.store.fail_evaluation(self.lease, row.id, _reason(error))
        else:
            self.store.finish_evaluation(self.lease, row.id, result.metrics, result.seconds, result.worker)


def _first(futures: Collection[Future[T]], on_tick: Callable[[], None]) -> set[Future[T]]:
    """The futures that are done, at least one."""
    while not (done := wait(futures, TICK_SECONDS, FIRST_COMPLETED).done):
        on_tick()
    return done


def _reason(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}".removesuffix(": ")
