"""Executor that runs tasks on the nodes of a Ray cluster (https://docs.ray.io).

Ray places the tasks by the resources that they ask for. On its node a task runs in a process of its own, see
`hosted.py`.
"""

import os
import signal
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import ray
from ray import exceptions

from workers.base import DEFAULT_LIMITS, Limits, Placement
from workers.errors import EngineLost, TaskOutOfMemory, WorkerLost
from workers.hosted import run_hosted
from workers.lanes import Lane, LaneExecutor, Queue, Task
from workers.local import interrupts_blocked

__all__ = ["RayExecutor"]

CONNECT_SECONDS = 10.0


class RayExecutor(LaneExecutor["_RayLane"]):
    """Executor on a Ray cluster, to which this machine belongs (`ray start`).

    A task asks for as many CPUs as it may have threads, for its GPUs and, if that is limited, for its memory. A process
    has one connection to Ray at most: if there is one already, it is used and stays open.

    Args:
        workers: Number of tasks that run at the same time.
        limits: Resources that each task may use.
        address: Of the cluster's head, `HOST:PORT`. Without one, a cluster that has room for this many tasks starts on
            this machine with the first task, and ends at the shutdown.

    Raises:
        WorkerError: If `workers < 1`.
        EngineLost: If no cluster answers at the address, or this machine does not belong to it.
    """

    def __init__(self, workers: int, limits: Limits = DEFAULT_LIMITS, address: str | None = None) -> None:
        self._cluster = _Cluster(workers, limits, address)
        super().__init__(lambda queue: _RayLane(queue, self._cluster), workers)

    def shutdown(self, cancel: bool) -> None:
        """Wait for all tasks, or kill them if `cancel` is true, then leave the cluster, or end that of this machine."""
        super().shutdown(cancel)
        self._cluster.close()

    def _placements(self, lanes: Sequence["_RayLane"]) -> Iterable[Placement]:
        return [self._cluster.waiting() if lane.worker is None else Placement(lane.worker) for lane in lanes]


class _RayLane(Lane):
    """A lane whose task is on the cluster."""

    def __init__(self, queue: Queue, cluster: "_Cluster") -> None:
        super().__init__(queue)
        self.worker: str | None = None
        self._cluster = cluster

    def execute(self, task: Task) -> bytes:
        """Encoded outcome of a task on a node of the cluster."""
        sent = self._cluster.send(task.payload)
        task.on_cancel(lambda: ray.cancel(sent, force=True))
        try:
            self.worker = ray.get(next(sent))
            outcome: bytes = ray.get(next(sent))
            return outcome
        except exceptions.OutOfMemoryError as error:
            raise TaskOutOfMemory(f"A node of Ray must have memory left, but it had not: {_line(error)}") from None
        except (exceptions.RayError, StopIteration) as error:  # one that was cancelled may end without a word
            raise WorkerLost(
                f"A worker must outlive its task, but Ray lost it: {_line(error)}. The task can be submitted again."
            ) from None
        finally:
            self.worker = None


class _Cluster:
    """The connection of this process to a cluster, and the cluster itself if it is one of this machine."""

    def __init__(self, workers: int, limits: Limits, address: str | None) -> None:
        self._limits = limits
        self._cpus = workers * limits.threads
        self._wanted = {"CPU": limits.threads, "GPU": limits.gpus, "memory": limits.memory_bytes or 0}
        self._task: Any = None
        self._is_ours = False
        self._lock = threading.Lock()
        if address is not None:
            _check_listens(address)
            self._connect(address=address)

    def send(self, payload: bytes) -> Any:
        """Ray's generator of the references to a task's worker and to its outcome.

        Raises:
            EngineLost: If Ray cannot be started, or is gone.
        """
        with self._lock:
            if self._task is None:
                self._connect(address="local", num_cpus=self._cpus, include_dashboard=False)
        return self._task.remote(payload, self._limits)

    def waiting(self) -> Placement:
        """Why a task that has no worker yet waits."""
        if self._task is None:
            return Placement(reason="the cluster starts")
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if any(all(node.get(name, 0) >= amount for name, amount in self._wanted.items()) for node in nodes):
            return Placement(reason="all nodes of the cluster are busy")
        wanted = ", ".join(f"{name}={amount:g}" for name, amount in self._wanted.items() if amount)
        return Placement(reason=f"no node of the cluster has {wanted}")

    def close(self) -> None:
        """Leave the cluster, and end it if it is one of this machine."""
        with self._lock:
            if self._is_ours:
                ray.shutdown()
            self._task, self._is_ours = None, False

    def _connect(self, **options: Any) -> None:
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            before = signal.getsignal(signal.SIGTERM)
            try:
                with interrupts_blocked():
                    ray.init(**options, log_to_driver=False, logging_level="ERROR")
            except (ConnectionError, RuntimeError, ValueError, exceptions.RayError) as error:
                raise EngineLost(
                    f"Ray must start or answer, and know our token (RAY_AUTH_MODE), but it does not: {_line(error)}"
                ) from None
            finally:
                if threading.current_thread() is threading.main_thread():
                    signal.signal(signal.SIGTERM, before)  # for which Ray has a handler of its own
        self._task = ray.remote(_run).options(
            num_returns="streaming",
            max_retries=0,  # whoever submits tries again, and counts
            num_cpus=self._wanted["CPU"],
            num_gpus=self._wanted["GPU"],
            memory=self._wanted["memory"],
        )


def _check_listens(address: str) -> None:
    """Raise unless something listens at the address, for which Ray itself waits for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise EngineLost(
            f"The head of a Ray cluster must answer at {address} (HOST:PORT), but none does: {error}"
        ) from None


def _run(payload: bytes, limits: Limits) -> Iterator[Any]:
    """Name of the worker of Ray that runs this, then the encoded outcome of a task."""
    yield f"{socket.gethostname()}:{os.getpid()}"
    yield run_hosted(payload, limits)


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
