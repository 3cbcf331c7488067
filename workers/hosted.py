"""What the worker of a cluster does with a task: it lets a process of the local executor run it.

No engine gives a task all of this: a limit of time and one of memory, the number of threads before torch is loaded, an
end when it is cancelled, and an error that tells a killed task, exhausted memory and a lost worker apart. Inside a
process of its own a task has it on every machine, and the engine's worker survives whatever the task does.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import wait
from contextlib import suppress

from workers import worker_process
from workers.base import Limits
from workers.local import LocalExecutor

__all__ = ["run_hosted"]

IDLE_SECONDS = 30.0  # longer than a search takes from a result to the next task, short for memory that nobody uses
LOOK_SECONDS = 0.5

# Executors of one process each that wait for their next task, and since when: starting one and loading torch takes
# seconds.
_idle: defaultdict[Limits, list[tuple[LocalExecutor, float]]] = defaultdict(list)


def run_hosted(payload: bytes, limits: Limits, is_wanted: Callable[[], bool] = lambda: True) -> bytes:
    """Encoded outcome of an encoded task, which a process of this worker has run.

    Args:
        payload: The task, from `worker_process.encode`.
        limits: Resources that it may use.
        is_wanted: Whether the task is still wanted; it is asked several times a second, and killed if not.
    """
    executor = _free_executor(limits)
    future = executor.submit(worker_process.run, payload, limits.threads)
    try:
        while not wait([future], LOOK_SECONDS).done:
            if not is_wanted():
                future.cancel()
        return future.result()
    except Exception as error:
        return worker_process.encode_error(error)
    finally:
        _keep_for_a_while(executor, limits)


def _free_executor(limits: Limits) -> LocalExecutor:
    try:
        return _idle[limits].pop()[0]
    except IndexError:
        return LocalExecutor(1, limits)


def _keep_for_a_while(executor: LocalExecutor, limits: Limits) -> None:
    since = time.monotonic()
    _idle[limits].append((executor, since))
    timer = threading.Timer(IDLE_SECONDS, _end_if_idle, (executor, since, limits))
    timer.daemon = True
    timer.start()


def _end_if_idle(executor: LocalExecutor, since: float, limits: Limits) -> None:
    with suppress(ValueError):  # it has a task, had one since then, or was ended before
        _idle[limits].remove((executor, since))
        executor.shutdown(cancel=True)
