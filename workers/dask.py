"""Executor that runs tasks on the workers of a Dask cluster (https://distributed.dask.org).

Dask places the tasks, and sends those of a lost worker to another one. On its worker a task runs in a process of its
own, see `hosted.py`; a worker with `n` threads of Dask has `n` tasks at a time.
"""

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any
from uuid import uuid4

from distributed import Client, KilledWorker, LocalCluster, get_worker
from distributed import Future as DaskFuture
from distributed.client import ClosedClientError
from distributed.comm import get_address_host_port

from workers.base import DEFAULT_LIMITS, Limits, Placement
from workers.errors import EngineLost, WorkerLost
from workers.hosted import run_hosted
from workers.lanes import Lane, LaneExecutor, Queue, Task
from workers.local import interrupts_blocked

__all__ = ["DaskExecutor"]

CONNECT_SECONDS = 10.0

Workers = Mapping[str, Mapping[str, Any]]  # what Dask's scheduler tells of each worker, by address


class DaskExecutor(LaneExecutor["_DaskLane"]):
    """Executor on a Dask cluster.

    Of the resources `CPU` (the threads of a task), `GPU` and `MEMORY` (bytes), a task asks for those that any worker of
    the cluster declares, as by `dask worker --resources "GPU=1"`.

    Args:
        workers: Number of tasks that run at the same time.
        limits: Resources that each task may use.
        address: Of the scheduler. Without one, a cluster of this many workers starts on this machine with the first
            task, and ends at the shutdown.

    Raises:
        WorkerError: If `workers < 1`.
        EngineLost: If no scheduler answers at the address.
    """

    def __init__(self, workers: int, limits: Limits = DEFAULT_LIMITS, address: str | None = None) -> None:
        self._cluster = _Cluster(workers, limits, address)
        super().__init__(lambda queue: _DaskLane(queue, self._cluster), workers)

    def shutdown(self, cancel: bool) -> None:
        """Wait for all tasks, or kill them if `cancel` is true, then leave the cluster, or end that of this machine."""
        super().shutdown(cancel)
        self._cluster.close()

    def _placements(self, lanes: Sequence["_DaskLane"]) -> Iterable[Placement]:
        return self._cluster.placements([lane.key for lane in lanes]) if lanes else ()


class _DaskLane(Lane):
    """A lane whose task is on the cluster, under a key of its own."""

    def __init__(self, queue: Queue, cluster: "_Cluster") -> None:
        super().__init__(queue)
        self.key = ""
        self._cluster = cluster

    def execute(self, task: Task) -> bytes:
        """Encoded outcome of a task on a worker of the cluster."""
        self.key = f"autokd-{uuid4().hex}"
        sent = self._cluster.send(task.payload, self.key)
        task.on_cancel(sent.cancel)
        try:
            outcome: bytes = sent.result()
            return outcome
        except KilledWorker as error:
            raise WorkerLost(_LOST.format(n=error.allowed_failures + 1, address=error.last_worker.address)) from None
        except CancelledError:  # by us, or by Dask because the connection was lost
            raise EngineLost(_GONE) from None


class _Cluster:
    """The connection to a cluster, and the cluster itself if it is one of this machine."""

    def __init__(self, workers: int, limits: Limits, address: str | None) -> None:
        self._workers = workers
        self._wanted = {"CPU": limits.threads, "GPU": limits.gpus, "MEMORY": limits.memory_bytes or 0}
        self._limits = limits
        self._own: LocalCluster | None = None
        self._connection = None if address is None else _connect(address)
        self._lock = threading.Lock()

    def send(self, payload: bytes, key: str) -> "DaskFuture[bytes]":
        """Future of a task's encoded outcome.

        Raises:
            EngineLost: If the connection to the scheduler was lost.
        """
        client = self._client()
        try:
            demand = self._demand(_workers(client)) if client.status == "running" else {}
            sent: DaskFuture[bytes] = client.submit(_run, payload, self._limits, key=key, resources=demand)
        except (ClosedClientError, OSError):
            raise EngineLost(_GONE) from None
        if client.status != "running":  # a task that is sent while the connection is lost may never end
            raise EngineLost(_GONE)
        return sent

    def placements(self, keys: Sequence[str]) -> Sequence[Placement]:
        """Where the tasks with these keys are."""
        client = self._connection
        if client is None:
            return [Placement(reason="the cluster starts")] * len(keys)
        try:
            workers, processing = _workers(client), client.processing()
        except (ClosedClientError, OSError):  # of which the tasks hear by themselves
            return [Placement()] * len(keys)
        has = {key: address for address, has in processing.items() for key in has}
        waiting = Placement(reason=self._why_waiting(workers))
        return [Placement(has[key]) if key in has else waiting for key in keys]

    def close(self) -> None:
        """Leave the cluster, and end it if it is one of this machine."""
        with self._lock:
            for closable in (self._connection, self._own):
                if closable is not None:
                    closable.close()
            self._connection = self._own = None

    def _client(self) -> Client:
        """The connection, made with the first task if the cluster is one of this machine."""
        with self._lock:
            if self._connection is None:
                self._own = _local_cluster(self._workers)
                self._connection = _connect(self._own)
            return self._connection

    def _demand(self, workers: Workers) -> dict[str, float]:
        declared = {name for worker in workers.values() for name in worker["resources"]}
        return {name: amount for name, amount in self._wanted.items() if amount and name in declared}

    def _why_waiting(self, workers: Workers) -> str:
        demand = self._demand(workers)
        if not workers:
            return "the cluster has no worker"
        if any(all(worker["resources"].get(name, 0) >= demand[name] for name in demand) for worker in workers.values()):
            return "all workers of the cluster are busy"
        return f"no worker of the cluster has {', '.join(f'{name}={amount:g}' for name, amount in demand.items())}"


def _local_cluster(workers: int) -> LocalCluster:
    try:
        with interrupts_blocked():
            return LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                memory_limit=None,  # of Dask's own processes, in which no task runs
                dashboard_address=":0",  # any free port
                silence_logs=logging.ERROR,
            )
    except Exception as error:  # it may fail in any way
        raise EngineLost(f"A cluster of Dask must start on this machine, but it does not: {error}") from None


def _connect(cluster: str | LocalCluster) -> Client:
    try:
        if isinstance(cluster, str):
            get_address_host_port(cluster)  # a client that refuses its address complains again when it is deleted
        return Client(cluster, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise EngineLost(f"A scheduler of Dask must answer at {cluster}, but none does: {error}") from None


def _workers(client: Client) -> Workers:
    """What the scheduler tells of its workers; nothing while the connection is lost."""
    workers: Workers = client.scheduler_info().get("workers", {})
    return workers


def _run(payload: bytes, limits: Limits) -> bytes:
    """`run_hosted` on a worker of Dask, which cannot stop a thread: the state of the task says that it is cancelled."""
    worker = get_worker()
    task = worker.state.tasks[worker.get_current_task()]
    return run_hosted(payload, limits, lambda: task.state == "executing")


_GONE = "The scheduler of Dask must outlive its tasks, but the connection to it was lost."
_LOST = (
    "A worker must outlive its task, but {n} workers of Dask died in turn, {address} last. "
    "The task can be submitted again."
)
