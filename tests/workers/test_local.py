"""The local executor, with real processes: each spawned worker takes about half a second to start, torch two more."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from hosted_tasks import CancelledTasks
from processes import gone, read

from autokd.testing import tasks
from autokd.testing.executors import ExecutorConformance, wait_until
from workers.base import Executor, Limits
from workers.errors import TaskOutOfMemory, TaskTimeout, TaskUnpicklable, WorkerError, WorkerLost
from workers.local import LocalExecutor

pytestmark = pytest.mark.slow  # processes are spawned

MIB = 2**20


class TestConformance(ExecutorConformance):
    @pytest.fixture
    def executor(self) -> Iterator[Executor]:
        executor = LocalExecutor(2)
        yield executor
        executor.shutdown(cancel=True)


@pytest.fixture
def local() -> Iterator[LocalExecutor]:
    with LocalExecutor(1) as executor:
        yield executor


def test_a_worker_runs_one_task_after_another(local: LocalExecutor) -> None:
    first, second = (local.submit(tasks.process_id).result() for _ in range(2))
    assert first == second != os.getpid()


def test_tasks_run_at_the_same_time(tmp_path: Path) -> None:
    with LocalExecutor(2) as executor:
        futures = [executor.submit(tasks.sleep, tmp_path / name) for name in ("a", "b")]
        assert read(tmp_path / "a") != read(tmp_path / "b")
        assert all(future.cancel() for future in futures)


def test_a_lambda_is_rejected_at_submit(local: LocalExecutor) -> None:
    with pytest.raises(TaskUnpicklable, match="importable"):
        local.submit(lambda: 1)


def test_the_error_for_a_result_that_cannot_be_pickled_names_its_type(local: LocalExecutor) -> None:
    with pytest.raises(TaskUnpicklable, match="function is not"):
        local.submit(tasks.make_lambda).result()


def test_an_exception_carries_the_workers_traceback(local: LocalExecutor) -> None:
    error = local.submit(tasks.fail, "reason").exception()
    assert error is not None
    assert "tasks.py" in "".join(error.__notes__)


def test_tasks_and_results_may_be_large(local: LocalExecutor) -> None:
    load = b"x" * (4 * MIB)
    assert local.submit(bytes.upper, load).result() == load.upper()


def test_threads_are_limited_before_torch_is_imported() -> None:
    with LocalExecutor(1, Limits(threads=1)) as executor:
        assert executor.submit(tasks.thread_counts).result() == ("1", 1)


@pytest.mark.parametrize(("own", "found"), [(None, "400000000"), ("7", "7")], ids=["ours", "the user's"])
def test_a_worker_keeps_freed_memory_unless_the_user_sets_the_variable(
    monkeypatch: pytest.MonkeyPatch, own: str | None, found: str
) -> None:
    name = "MALLOC_TRIM_THRESHOLD_"
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.delenv(name, raising=False) if own is None else monkeypatch.setenv(name, own)
    with LocalExecutor(1) as executor:
        assert executor.submit(os.getenv, name).result() == found
        assert executor.submit(os.getenv, "MALLOC_MMAP_THRESHOLD_").result() == "33554432"
        assert executor.submit(os.getenv, "GLIBC_TUNABLES").result() == "glibc.malloc.hugetlb=1"
    assert os.environ.get(name) == own


def test_starting_a_worker_does_not_change_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with LocalExecutor(1) as executor:
        executor.submit(tasks.add, 1, 1).result()
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_a_task_over_its_time_is_killed_and_the_next_one_runs() -> None:
    with LocalExecutor(1, Limits(seconds=1.0)) as executor:  # builtins: an import counts, too, and may take a second
        first = executor.submit(os.getpid).result()
        with pytest.raises(TaskTimeout, match=r"within 1\.0 seconds"):
            executor.submit(time.sleep, 600.0).result()
        assert gone(first)
        assert executor.submit(os.getpid).result() != first


def test_a_task_over_its_memory_is_killed_and_the_next_one_runs() -> None:
    with LocalExecutor(1, Limits(memory_bytes=500 * MIB)) as executor:
        with pytest.raises(TaskOutOfMemory, match=f"within {500 * MIB} bytes"):
            executor.submit(tasks.allocate, 700 * MIB).result()
        assert executor.submit(tasks.add, 1, 1).result() == 2


def test_a_memory_limit_below_that_of_the_interpreter_raises(tmp_path: Path) -> None:
    with LocalExecutor(1, Limits(memory_bytes=1)) as executor, pytest.raises(WorkerError, match="raise the limit"):
        executor.submit(tasks.sleep, tmp_path / "mark").result()


def test_a_killed_worker_is_lost_and_the_next_task_runs(local: LocalExecutor) -> None:
    with pytest.raises(WorkerLost, match="SIGKILL"):
        local.submit(tasks.die).result()
    assert local.submit(tasks.add, 1, 1).result() == 2


@pytest.mark.parametrize("exit_code", [0, 1, 3])
def test_a_worker_that_leaves_is_lost_and_the_next_task_runs(local: LocalExecutor, exit_code: int) -> None:
    with pytest.raises(WorkerLost, match=f"exit code {exit_code}"):
        local.submit(tasks.leave, exit_code).result()
    assert local.submit(tasks.add, 1, 1).result() == 2


def test_a_lost_worker_does_not_affect_other_tasks(tmp_path: Path) -> None:
    with LocalExecutor(2) as executor:
        steady = executor.submit(tasks.sleep, tmp_path / "mark", 3.0)
        read(tmp_path / "mark")
        assert [type(executor.submit(tasks.die).exception()) for _ in range(2)] == [WorkerLost, WorkerLost]
        assert steady.result() is None


def test_a_worker_killed_while_idle_loses_no_task(local: LocalExecutor) -> None:
    idle = local.submit(tasks.process_id).result()
    os.kill(idle, signal.SIGKILL)
    assert local.submit(tasks.process_id).result() != idle


class TestCancelling(CancelledTasks):
    @pytest.fixture
    def make(self) -> Callable[[Limits], Executor]:
        return lambda limits: LocalExecutor(1, limits)


def test_cancelling_a_waiting_task_drops_it(local: LocalExecutor, tmp_path: Path) -> None:
    running = local.submit(tasks.sleep, tmp_path / "running")
    waiting = local.submit(tasks.sleep, tmp_path / "waiting")
    assert waiting.cancel()
    read(tmp_path / "running")
    running.cancel()
    assert local.submit(tasks.add, 1, 1).result() == 2
    assert not (tmp_path / "waiting").exists()


def test_shutdown_with_cancel_kills_what_runs_and_drops_what_waits(tmp_path: Path) -> None:
    executor = LocalExecutor(1)
    futures = [executor.submit(tasks.sleep, tmp_path / name) for name in ("a", "b")]
    process_id = read(tmp_path / "a")
    executor.shutdown(cancel=True)
    assert gone(process_id)
    assert all(future.cancelled() for future in futures)
    assert not wait(futures, timeout=60).not_done


def test_an_error_in_the_block_kills_what_runs(tmp_path: Path) -> None:
    def submit_and_raise() -> None:
        with LocalExecutor(1) as executor:
            executor.submit(tasks.sleep, tmp_path / "mark")
            raise KeyError(read(tmp_path / "mark"))

    with pytest.raises(KeyError):
        submit_and_raise()
    assert gone(read(tmp_path / "mark"))


def test_child_processes_of_a_killed_task_are_killed(local: LocalExecutor, tmp_path: Path) -> None:
    future = local.submit(tasks.linger, tmp_path / "mark")
    child = read(tmp_path / "mark")
    future.cancel()
    wait_until(lambda: gone(child))


def test_a_worker_ignores_an_interrupt(local: LocalExecutor, tmp_path: Path) -> None:
    future = local.submit(tasks.sleep, tmp_path / "mark", 1.0)
    os.kill(read(tmp_path / "mark"), signal.SIGINT)
    assert future.result() is None


SCRIPT = """
import signal
import sys
from pathlib import Path
from autokd.testing import tasks
from workers.local import LocalExecutor

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits that it is ignored

def main():
    executor = LocalExecutor(2)
    futures = [executor.submit(tasks.sleep, Path(name)) for name in sys.argv[1:]]
    {then}

{guard}
"""
MARK = "AUTOKD_TEST_SCRIPT"
GUARD = 'if __name__ == "__main__":\n    main()'


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a controller; it and what it started do not outlive the test, however that ends."""
    file = tmp_path / "script.py"

    def start(then: str, *arguments: str, guard: str = GUARD) -> subprocess.Popen[str]:
        file.write_text(SCRIPT.format(then=then, guard=guard))
        path = os.pathsep.join(entry for entry in (os.getcwd(), *sys.path) if entry)
        return subprocess.Popen(
            [sys.executable, str(file), *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path, MARK: str(file)},
        )

    yield start
    for process in started_by(file):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def started_by(file: Path) -> list[psutil.Process]:
    """Processes whose environment says that they descend from this script; their parents may be dead."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == str(file):
                found.append(process)
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_exit_when_their_controller_dies(
    script: Callable[..., subprocess.Popen[str]], tmp_path: Path, number: signal.Signals
) -> None:
    marks = [tmp_path / "a", tmp_path / "b"]
    controller = script("[future.result() for future in futures]", *map(str, marks))
    processes = [read(mark) for mark in marks]
    controller.send_signal(number)
    wait_until(lambda: all(map(gone, processes)))
    controller.communicate(timeout=60)
    assert controller.returncode != 0


def test_a_script_without_shutdown_ends_and_leaves_no_process(
    script: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    names = [str(tmp_path / name) for name in ("a", "b", "c")]
    then = "import time\n    while not (Path(sys.argv[1]).exists() and Path(sys.argv[2]).exists()): time.sleep(0.01)"
    controller = script(then, *names)
    processes = [read(Path(name)) for name in names[:2]]
    _, errors = controller.communicate(timeout=60)
    assert (controller.returncode, errors) == (0, "")
    assert all(map(gone, processes))


def test_a_script_without_a_main_guard_gets_an_error_that_explains_it(
    script: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    controller = script("futures[0].result()", str(tmp_path / "mark"), guard="main()")
    _, errors = controller.communicate(timeout=120)
    assert controller.returncode != 0
    assert "workers.errors.UnguardedMain: Every worker imports the main script" in errors
    assert errors.count("Traceback") == 1
    assert 'under `if __name__ == "__main__":`' in errors


def test_a_controller_killed_while_workers_start_leaves_no_process(
    script: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    controller = script("futures[0].result()", str(tmp_path / "mark"))
    family = psutil.Process(controller.pid)
    wait_until(lambda: len(family.children()) >= 2)
    children = family.children(recursive=True)
    controller.kill()
    controller.communicate(timeout=60)
    wait_until(lambda: all(gone(child.pid) for child in children))
