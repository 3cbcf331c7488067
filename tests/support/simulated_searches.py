"""Searches whose workers run in simulated time, and train nothing."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from autokd.database.lease import Lease
from autokd.database.store import Store
from autokd.evaluation.context import TrainingContext
from autokd.evaluation.task import EvaluationResult, EvaluationTask
from autokd.searches.dispatcher import Dispatcher
from workers.simulated import SimulatedCluster

__all__ = ["SimulatedDispatcher"]

Evaluate = Callable[[EvaluationTask], EvaluationResult]


class SimulatedDispatcher(Dispatcher):
    """Lets a function stand for all trainings; the clock of its cluster advances while it waits.

    Args:
        store: Where results are recorded.
        lease: The right to write there.
        workers: Number of workers.
        evaluate: The function; its results say how many simulated seconds they took.
    """

    def __init__(self, store: Store, lease: Lease, workers: int, evaluate: Evaluate) -> None:
        self.cluster = SimulatedCluster[EvaluationResult](workers, lambda result: result.seconds)
        super().__init__(store, lease, _Pretending(self.cluster, evaluate))  # type: ignore[arg-type]

    def prepare(self, context: TrainingContext) -> None:
        """Compute no outputs of a teacher, since nothing is trained."""

    def _first_ended(self) -> list[Future[EvaluationResult]]:
        while self._ended.empty():
            self.cluster.advance()
        return super()._first_ended()


class _Pretending:
    """A cluster that calls one function whatever it is asked to call."""

    def __init__(self, cluster: SimulatedCluster[EvaluationResult], evaluate: Evaluate) -> None:
        self._cluster, self._evaluate = cluster, evaluate

    @property
    def capacity(self) -> int:
        return self._cluster.capacity

    def submit(self, function: Any, task: EvaluationTask) -> Future[EvaluationResult]:
        return self._cluster.submit(self._evaluate, task)
