"""Sends evaluations to workers and records what comes back."""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, TypeVar

from autokd.core.depot import Depot
from autokd.database.lease import Lease
from autokd.database.lease_keeper import StopRequest
from autokd.database.rows import EvaluationRow
from autokd.database.store import Store
from autokd.errors import AutoKDError, InputError
from autokd.evaluation.context import TrainingContext
from autokd.evaluation.evaluate import evaluate
from autokd.evaluation.precompute import check_room, missing_outputs, output_shapes, precompute_outputs
from autokd.evaluation.prune import prune_round
from autokd.evaluation.remote import bring, packed
from autokd.evaluation.task import EvaluationResult, EvaluationTask
from autokd.searches.bottleneck import Bottleneck
from autokd.searches.tables import percent
from autokd.teachers.outputs.key import OutputsKey
from autokd.teachers.pruned import PrunedTeachers
from autokd.teachers.registry import Teacher
from workers.base import Executor, Placement
from workers.errors import EngineLost, UnguardedMain, WorkerLost

__all__ = ["Dispatcher", "reason_of"]

K = TypeVar("K")
T = TypeVar("T")

TICK_SECONDS = 2.0
ATTEMPTS = 3  # at a task whose worker is lost, before it counts as failed
_STOPPING = (InputError, EngineLost)  # what ends the whole search, as every task would end so


@dataclass
class _Flight:
    """An evaluation on its way, where it is as far as that is recorded, and since when a worker may have had it."""

    row: EvaluationRow
    task: EvaluationTask
    placement: Placement
    since: float = field(default_factory=monotonic)


@dataclass
class Dispatcher:
    """The evaluations in flight.

    Attributes:
        store: Where results are recorded.
        lease: The right to write there.
        executor: Where evaluations run.
        on_change: Called after everything that is recorded, and every few seconds while waiting.
        on_prepared: Called with the number of views and splits whose outputs are stored, and of those needed.
        on_notify: Called with a line that the user should read.
        teacher: The teacher, where it was given as an object, which workers cannot make.
        on_recorded: Called with the row of each evaluation that was placed or ended, before `on_change`.
        stop: Whether somebody wants the search to stop, and how.
        depot: The files at a URL, where workers do not see the folder of searches.
    """

    store: Store
    lease: Lease
    executor: Executor
    on_change: Callable[[], None] = lambda: None
    on_prepared: Callable[[int, int], None] = lambda ready, needed: None
    on_notify: Callable[[str], None] = lambda line: None
    teacher: Teacher | None = None
    on_recorded: Callable[[EvaluationRow], None] = lambda row: None
    stop: StopRequest = field(default_factory=StopRequest)
    depot: Depot | None = None
    _in_flight: dict[Future[EvaluationResult], _Flight] = field(default_factory=dict)
    _sent: set[int] = field(default_factory=set)
    _ended: SimpleQueue[Future[EvaluationResult]] = field(default_factory=SimpleQueue)
    _lost: Counter[int] = field(default_factory=Counter)
    _bottleneck: Bottleneck = field(default_factory=Bottleneck)
    _lap_began: float = field(default_factory=monotonic)

    @property
    def room(self) -> int:
        """Number of free workers; negative if evaluations wait for one."""
        return self.executor.capacity - len(self._in_flight)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in flight."""
        return not self._in_flight

    def submit(self, row: EvaluationRow, task: EvaluationTask) -> None:
        """Send an open evaluation to a worker, unless it is in flight already."""
        if row.id not in self._sent:
            self._send(_Flight(row, task, Placement(row.worker, row.reason)))

    def _send(self, flight: _Flight) -> None:
        future = self._submitted(evaluate, flight.task)
        self._sent.add(flight.row.id)
        self._in_flight[future] = flight
        future.add_done_callback(self._ended.put)

    def _submitted(self, work: Callable[..., T], *given: Any) -> Future[T]:
        """The future of work on a worker."""
        if self.depot is None:
            return self.executor.submit(work, *given)
        function, url, task = packed(self.depot, work, *given)
        return self.executor.submit(function, url, task)

    def _bring(self, task: EvaluationTask | TrainingContext) -> None:
        """Bring the files that a worker wrote into the folder of searches, if it does not see that."""
        if self.depot is not None:
            bring(self.depot, task)

    def wait(self) -> None:
        """Wait until at least one evaluation in flight ends, and record all that did.

        Raises:
            InputError: If an evaluation failed because data or teacher are gone, as all others would.
            EngineLost: If the cluster is gone.
        """
        ended = sorted(self._first_ended(), key=lambda future: self._in_flight[future].row.id)
        flights = [self._in_flight.pop(future) for future in ended]
        outcomes = [(flight, self._outcome(future, flight)) for future, flight in zip(ended, flights, strict=True)]
        self._sent -= {flight.row.id for flight, _ in outcomes}
        self._lost.update(flight.row.id for flight, outcome in outcomes if isinstance(outcome, WorkerLost))
        written = self.store.patience.call(lambda: self._record_all(outcomes))
        for (flight, outcome), row in zip(outcomes, written, strict=True):
            if isinstance(outcome, _STOPPING):
                raise outcome
            if row is None:
                self._send(flight)
            else:
                self.on_recorded(row)
        self.on_change()

    def _outcome(self, future: Future[EvaluationResult], flight: _Flight) -> EvaluationResult | Exception:
        """The result of an evaluation, or why there is none; what it wrote is here, the log of a failed one, too."""
        try:
            try:
                return _result(future)
            finally:
                self._bring(flight.task)
        except Exception as error:
            return error

    def _first_ended(self) -> list[Future[EvaluationResult]]:
        """The evaluations that ended, at least one; none if all that were left were taken back."""
        ended = list[Future[EvaluationResult]]()
        while not ended and self._in_flight:
            try:
                ended.append(self._ended.get(timeout=TICK_SECONDS))
            except Empty:
                self._place()
                self._tick()
        while not self._ended.empty():
            ended.append(self._ended.get())
        return [future for future in ended if future in self._in_flight]

    def heed_stop(self) -> None:
        """If the search is to stop, wait until what runs has ended, and raise KeyboardInterrupt."""
        if self.stop.mode is not None:
            self._drop_waiting()
            while not self.is_idle:
                self.wait()
            raise KeyboardInterrupt

    def _tick(self) -> None:
        self.on_change()
        if self.stop.mode == "now":
            raise KeyboardInterrupt
        if self.stop.mode == "gracefully":
            self._drop_waiting()

    def _drop_waiting(self) -> None:
        """Take back the evaluations for which no worker was free yet; their rows stay open."""
        placements = self.executor.where(self._in_flight)
        for future in list(self._in_flight):
            placement = placements.get(future, Placement())
            has_worker = placement.worker is not None or (future.running() and placement.reason is None)
            if not has_worker and future.cancel():
                self._sent.discard(self._in_flight.pop(future).row.id)

    def prepare(self, context: TrainingContext) -> None:
        """Let the workers prune teachers, then precompute all teachers' outputs.

        The outputs are those for all views, in chunks, and for the other splits. Those of a teacher object are computed
        in this process. A search that is to stop in either way does so at once: what is stored stays.

        Raises:
            InputError: If data or teacher are gone, or the disk has no room.
            EngineLost: If the cluster is gone.
            AutoKDError: If a worker cannot train a pruned teacher, or compute a view.
        """
        self.lap_seconds()
        if context.pruned is not None:
            for rounds in context.pruned.missing:
                self._prune(context, context.pruned, rounds)
        if context.teacher.source is None:
            self._precompute_here(context)
        missing = missing_outputs(context)
        check_room(context, missing)
        if missing or context.needs:
            self._notify_fall_back(context)
        self._results(
            precompute_outputs,
            {key: (context, key) for key in missing},
            "the teacher's outputs cannot be computed",
            on_tick=lambda left: self._report_outputs(context, left),
            on_done=lambda left: self._record_outputs(context, left),
        )

    def lap_seconds(self) -> float:
        """Seconds since the last call, or since `prepare` began, whatever the clock says; the next lap begins."""
        before, self._lap_began = self._lap_began, monotonic()
        return round(self._lap_began - before, 3)

    def evaluated(self, tasks: Sequence[EvaluationTask], failure: str) -> list[EvaluationResult]:
        """The results of evaluations that are none of a trial.

        Args:
            tasks: The evaluations.
            failure: What has failed if one of them does, for the message.

        Raises:
            InputError: If data or teacher are gone.
            EngineLost: If the cluster is gone.
            AutoKDError: If one of them fails.
        """
        inputs, tick = {task.key: (task,) for task in tasks}, self._tick_of_teachers
        results = self._results(evaluate, inputs, failure, tick, tick)
        return [results[task.key] for task in tasks]

    def _precompute_here(self, context: TrainingContext) -> None:
        missing = missing_outputs(context)
        for key in [key for key in missing if key.teacher not in context.assistants]:
            if self.teacher is None:
                raise InputError(
                    "the teacher was given as an object, and not all of its outputs are stored yet: go on from Python, "
                    "where the teacher is given to autokd.find."
                )
            precompute_outputs(context, key, self.teacher)
            missing.remove(key)
            self._record_outputs(context, missing)

    def _record_outputs(self, context: TrainingContext, missing: Iterable[OutputsKey]) -> None:
        """Record and report that some of a teacher's outputs were computed, so that these are missing."""
        payload = {"views": len(context.outputs_needed), "missing": _n_incomplete(missing)}
        self.store.record_event(self.lease, "teacher", payload | {"seconds": self.lap_seconds()})
        self._report_outputs(context, missing)

    def _report_outputs(self, context: TrainingContext, missing: Iterable[OutputsKey]) -> None:
        needed = len(context.outputs_needed)
        self.on_prepared(needed - _n_incomplete(missing), needed)
        self.heed_stop()

    def _prune(self, context: TrainingContext, files: PrunedTeachers, rounds: int) -> None:
        """Let a worker do a round of pruning."""
        task, failure = {rounds: (context, rounds)}, "the teacher cannot be pruned"
        self._results(prune_round, task, failure, self._tick_of_teachers, self._tick_of_teachers)
        accuracy = float(files.result(rounds)["accuracy"])
        payload = {"rounds": rounds, "of": files.n_rounds, "accuracy": accuracy, "seconds": self.lap_seconds()}
        self.store.record_event(self.lease, "pruned", payload)
        self.on_notify(f"teacher pruned, round {rounds} of {files.n_rounds}: {percent(accuracy)} validation accuracy")

    def _results(
        self,
        work: Callable[..., T],
        inputs: Mapping[K, tuple[Any, ...]],
        failure: str,
        on_tick: Callable[[Iterable[K]], None],
        on_done: Callable[[Iterable[K]], None],
    ) -> dict[K, T]:
        """What workers return for tasks that are none of a trial; those whose worker is lost are sent again.

        No more than the workers can do at a time are sent, so that a search that is to stop can do so between them.

        Args:
            work: What a worker does.
            inputs: Its arguments, for each task by its key.
            failure: What has failed if one of them does, for the message.
            on_tick: Called with the keys of those that are left, every few seconds while waiting.
            on_done: The same, whenever some have ended.
        """
        waiting, pending = deque(inputs), dict[Future[T], K]()
        attempts, results = Counter[K](), dict[K, T]()

        def left() -> Iterable[K]:
            return [*pending.values(), *waiting]

        def tick() -> None:
            self._look(pending)
            on_tick(left())

        while waiting or pending:
            while waiting and len(pending) < self.executor.capacity:
                key = waiting.popleft()
                pending[self._submitted(work, *inputs[key])] = key
            for future in _first(pending, tick):
                key = pending.pop(future)
                attempts[key] += 1
                self._bring(inputs[key][0])
                if _succeeded(future, attempts[key], failure):
                    results[key] = future.result()
                else:
                    waiting.appendleft(key)
            on_done(left())
        return results

    def _tick_of_teachers(self, _: object) -> None:
        self.on_change()
        self.heed_stop()

    def _notify_fall_back(self, context: TrainingContext) -> None:
        line = context.disk_budget(output_shapes(context)).fall_back
        if line is not None:
            self.store.record_event(self.lease, "fall-back", {"line": line})
            self.on_notify(line)

    def _place(self) -> None:
        """Record where the evaluations in flight are, as far as that changed."""
        placements = self._look(self._in_flight)
        for future, flight in self._in_flight.items():
            placement = placements.get(future, Placement())
            if placement.worker is None:  # it waits for one, and takes none's time
                flight.since = monotonic()
            if placement != flight.placement:
                row = self.store.place_evaluation(self.lease, flight.row.id, placement.worker, placement.reason)
                flight.placement = placement
                self.on_recorded(row)

    def _look(self, futures: Collection[Future[Any]]) -> Mapping[Future[Any], Placement]:
        """Where tasks are; the user hears why some wait."""
        placements = self.executor.where(futures)
        if line := self._bottleneck.line(placements.values()):
            self.on_notify(line)
        return placements

    def _record_all(self, ended: Iterable[tuple[_Flight, EvaluationResult | Exception]]) -> list[EvaluationRow | None]:
        with self.store.batch(self.lease):
            return [self._record(flight, outcome) for flight, outcome in ended]

    def _record(self, flight: _Flight, outcome: EvaluationResult | Exception) -> EvaluationRow | None:
        """The row of an evaluation that ended; None if it did not, since its worker, cluster or data are gone."""
        row, took = flight.row, round(monotonic() - flight.since, 3)
        if isinstance(outcome, EvaluationResult):
            found = outcome.metrics, outcome.seconds, outcome.worker, outcome.epoch_seconds
            return self.store.finish_evaluation(self.lease, row.id, *found)
        if isinstance(outcome, _STOPPING):
            return None
        if isinstance(outcome, WorkerLost):
            if self._lost[row.id] < ATTEMPTS:
                return None
            return self.store.fail_evaluation(self.lease, row.id, f"{outcome} ({ATTEMPTS} times)", "worker", took)
        if isinstance(outcome, OSError | ImportError):  # of its disk, its network or what is installed there
            return self.store.fail_evaluation(self.lease, row.id, reason_of(outcome), "worker", took)
        # A network that cannot be trained ends its trial, not the search.
        return self.store.fail_evaluation(self.lease, row.id, reason_of(outcome), seconds=took)


def _first(futures: Collection[Future[T]], on_tick: Callable[[], None]) -> set[Future[T]]:
    """The futures that are done, at least one."""
    while not (done := wait(futures, TICK_SECONDS, FIRST_COMPLETED).done):
        on_tick()
    return done


def _result(future: Future[T]) -> T:
    """The result of a task that ended; what the user's script has to mend is an `InputError`."""
    try:
        return future.result()
    except UnguardedMain as error:
        raise InputError(str(error)) from None


def _succeeded(future: Future[Any], attempt: int, failure: str) -> bool:
    """Whether a task that ended did its work; False if its worker was lost, and it is to be sent again.

    Args:
        future: The task.
        attempt: How often it was sent, at most `ATTEMPTS` times.
        failure: What has failed if it raised anything else.

    Raises:
        InputError: If data or teacher are gone.
        EngineLost: If the cluster is gone.
        AutoKDError: If it failed, or was sent often enough.
    """
    try:
        _result(future)
    except _STOPPING:
        raise
    except Exception as error:
        if isinstance(error, WorkerLost) and attempt < ATTEMPTS:
            return False
        raise AutoKDError(f"{failure}: {reason_of(error)}") from error
    return True


def _n_incomplete(missing: Iterable[OutputsKey]) -> int:
    """Number of views and splits of which something is missing."""
    return len({key._replace(chunk=None) for key in missing})


def reason_of(error: Exception) -> str:
    """An error in one line that any database takes."""
    lines = str(error).splitlines() or [""]
    line = f"{type(error).__name__}: {lines[0]}".removesuffix(": ")
    return line.encode(errors="backslashreplace").decode().replace("\0", "\\0")
