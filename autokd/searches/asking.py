"""Ask and tell: the search says what to train and how far, and you train it."""

import reprlib
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, TypeVar, TypeVarTuple

from torch import nn

from autokd.distillation import Method
from autokd.errors import AutoKDError, InputError, first_line
from autokd.evaluation.evaluate import made_method
from autokd.evaluation.networks import built_student, warm_start
from autokd.evaluation.task import EvaluationResult, EvaluationTask
from autokd.searches.controller import Controller
from autokd.searches.progress import Progress
from autokd.training.checkpoint import save_weights
from search_spaces.architecture.format import Architecture
from search_spaces.networks.network import build
from workers.base import Executor
from workers.errors import WorkerError

__all__ = ["Asked", "AskedTasks", "Asking"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, eq=False, repr=False)
class Asked:
    """A student to train up to a rung.

    Attributes:
        task: The evaluation.
        future: What the search waits for.
        since: Time of `time.monotonic` at which it was asked for.
    """

    task: EvaluationTask
    future: Future[EvaluationResult]
    since: float

    def __repr__(self) -> str:
        return f"<student {self.name} to train by {self.method} up to {self.epochs:g} epochs>"

    @property
    def name(self) -> str:
        """The same for all rungs of a student: under it you may keep what a later rung goes on from."""
        return self.task.trajectory

    @property
    def rung(self) -> int:
        """Index of the rung."""
        return self.task.rung

    @property
    def epochs(self) -> float:
        """Length of the training from its start; the rung before, if there is one, is part of it."""
        return self.task.epochs

    @property
    def architecture(self) -> Architecture:
        """The student."""
        return Architecture.from_json(self.task.architecture)

    @property
    def method(self) -> str:
        """Name of the distillation method."""
        return self.task.method

    @property
    def settings(self) -> dict[str, bool | int | float | str]:
        """Its hyper-parameters."""
        return dict(self.task.settings)

    @property
    def seed(self) -> int:
        """Seed of the first weights, different for each student."""
        return self.task.seed_of("weights")

    def module(self) -> nn.Module:
        """The student with its first weights, on the CPU; a slim copy has of its teacher's what fits, as in a search.

        Raises:
            WarmStartGoneError: If it inherits those of an earlier student (`training.warm_start`) that were not told.
            InputError: If data or teacher are gone, or changed.
        """
        student = built_student(self.task, "weights")
        if self.task.from_teacher or self.task.warm_from:
            warm_start(student, self.task, self.task.context.load_data())
        return student.cpu()

    def make_method(self) -> Method:
        """The distillation method with its hyper-parameters, for `autokd.distillation.Distiller`."""
        return made_method(self.task)


class AskedTasks(Executor):
    """Executor whose tasks somebody takes and ends: it has room for one more than were taken."""

    def __init__(self) -> None:
        self._waiting = deque[tuple[Any, ...]]()
        self._taken = set[Asked]()

    @property
    def capacity(self) -> int:
        """Number of tasks that were taken, and one."""
        return len(self._taken) + 1

    @property
    def has_waiting(self) -> bool:
        """Whether there is a task to take."""
        return bool(self._waiting)

    def submit(self, function: Callable[[*Ts], T], /, *args: *Ts) -> Future[T]:
        """Future of an evaluation, whose task is the one argument, that waits until it is taken."""
        future = Future[T]()
        self._waiting.append((*args, future))
        return future

    def take(self) -> Asked:
        """Take the task that has waited longest."""
        task, future = self._waiting.popleft()
        asked = Asked(task, future, time.monotonic())
        self._taken.add(asked)
        return asked

    def check(self, asked: Asked) -> None:
        """Raise `InputError` if a task was not taken, or has ended already."""
        if asked not in self._taken or asked.future.done():
            raise InputError("what is told must have been asked for here, and not been told yet.")

    def give_back(self, asked: Asked) -> None:
        """Take note that a task ends now; raise `InputError` as `check` does."""
        self.check(asked)
        self._taken.remove(asked)

    def shutdown(self, cancel: bool) -> None:
        """Forget all tasks; there is no process to end."""
        self._waiting.clear()
        self._taken.clear()


class Asking:
    """A search whose students you train.

    Proposals, pruning and everything that is recorded are those of any search; only the trainings are yours. They need
    not be told in the order in which they were asked for.

    Args:
        controller: Of the search; its workers are `tasks`.
        tasks: What is asked for.
    """

    def __init__(self, controller: Controller, tasks: AskedTasks) -> None:
        self._controller, self._tasks = controller, tasks
        self._is_over = False

    def ask(self) -> Asked | None:
        """What to train next: a rung of a new student, or the next rung of one that was told and not pruned.

        Returns:
            None if there is nothing: for good if all that was asked for was told, else until some of it is.

        Raises:
            InterruptedSearchError: If somebody wants the search to stop, such as by `autokd stop`.
            DatabaseGone: If an outage of the database lasts too long.
        """
        while not self._tasks.has_waiting and self._controller.advance():
            pass
        if self._tasks.has_waiting:
            return self._tasks.take()
        self._is_over = self._controller.dispatcher.is_idle
        return None

    def tell(
        self,
        asked: Asked,
        accuracy: float,
        weights: nn.Module | None = None,
        seconds: float | None = None,
        **metrics: float,
    ) -> None:
        """Record what a training gave.

        Args:
            asked: What was trained.
            accuracy: Accuracy on the validation split, in [0, 1].
            weights: The trained student, as `asked.module()` made it. Without it the search can name the best student,
                but neither return nor export its weights.
            seconds: Time that it took; since it was asked for by default.
            metrics: Further metrics. The one by which trials are pruned (`optimizer.signal`) must be there.

        Raises:
            InputError: If it was not asked for or told already, or a metric is missing, no number or out of its range.
        """
        metrics = {name: _number(name, value) for name, value in ({"accuracy": accuracy} | metrics).items()}
        took = time.monotonic() - asked.since if seconds is None else _number("seconds", seconds)
        self._check(metrics)
        if not 0 <= took < inf:
            raise InputError(f"seconds must be finite and at least 0, but got {took}.")
        self._tasks.check(asked)
        if weights is not None:
            _check_weights(weights, asked)
            save_weights(weights, asked.task.weights)  # which may fail; then it can be told again
        self._tasks.give_back(asked)
        asked.future.set_result(EvaluationResult(asked.task.key, metrics, round(took, 3)))
        self._controller.wait()

    def fail(self, asked: Asked, error: Exception) -> None:
        """Record that a training failed, which ends its trial, not the search.

        Args:
            asked: What could not be trained.
            error: Why. An `OSError`, of a disk or network, can be tried again by `autokd retry`.

        Raises:
            InputError: If it was not asked for, or told already.
        """
        self._tasks.give_back(asked)
        ends_all = isinstance(error, InputError | WorkerError)  # where a worker raises it
        asked.future.set_exception(AutoKDError(first_line(error)) if ends_all else error)
        self._controller.wait()

    def record_end(self) -> Progress:
        """Record whether the search is over or interrupted, and return how far it is."""
        return self._controller.record_end(self._is_over)

    def _check(self, metrics: dict[str, float]) -> None:
        needed = {"accuracy", self._controller.problem.fidelity_metric.name}
        if missing := needed - metrics.keys():
            raise InputError(f"{min(missing)} must be told, too: trials are pruned by it (optimizer.signal).")
        if bad := sorted(name for name, value in metrics.items() if not isfinite(value)):
            raise InputError(f"{bad[0]} must be finite, but got {metrics[bad[0]]}.")
        if not 0 <= metrics["accuracy"] <= 1:
            raise InputError(f"accuracy must be in [0, 1], but got {metrics['accuracy']}.")


def _number(name: str, value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} must be a number, but got {reprlib.repr(value)}.") from None


def _check_weights(weights: nn.Module, asked: Asked) -> None:
    try:
        build(asked.architecture).load_state_dict(weights.state_dict())
    except RuntimeError:
        raise InputError("weights must be those of a module that `asked.module()` made.") from None
