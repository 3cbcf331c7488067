"""The Dask executor, with a real cluster of two workers in processes of their own."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hosted_tasks import HostedTasks
from processes import read

from autokd.testing import tasks
from autokd.testing.executors import ExecutorConformance, wait_until
from workers.base import Executor, Limits, Placement
from workers.errors import EngineLost, WorkerLost

dask = pytest.importorskip("workers.dask", reason="distributed is not installed: pip install 'autokd[dask]'")

pytestmark = pytest.mark.slow  # processes are spawned


class TestConformance(ExecutorConformance):
    @pytest.fixture
    def executor(self, dask_address: str) -> Iterator[Executor]:
        executor = dask.DaskExecutor(2, address=dask_address)
        yield executor
        executor.shutdown(cancel=True)


class TestHostedTasks(HostedTasks):
    @pytest.fixture
    def make(self, dask_address: str) -> Callable[[Limits], Executor]:
        return lambda limits: dask.DaskExecutor(1, limits, dask_address)


@pytest.fixture
def executor(dask_address: str) -> Iterator[Executor]:
    with dask.DaskExecutor(2, address=dask_address) as executor:
        yield executor


def host_of(process_id: int) -> psutil.Process:
    """The worker of Dask whose task runs in this process."""
    worker = psutil.Process(process_id).parent()
    assert worker is not None
    return worker


def test_tasks_run_at_the_same_time_on_several_workers(executor: Executor, tmp_path: Path) -> None:
    futures = [executor.submit(tasks.sleep, tmp_path / name) for name in ("a", "b")]
    assert host_of(read(tmp_path / "a")) != host_of(read(tmp_path / "b"))
    assert all(future.cancel() for future in futures)


def test_a_task_moves_to_another_worker_when_its_own_dies_and_is_lost_when_that_dies_too(
    executor: Executor, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    future = executor.submit(tasks.sleep, mark)
    for _ in range(2):
        worker = host_of(read(mark))
        mark.unlink()
        worker.kill()
    with pytest.raises(WorkerLost, match="2 workers of Dask died in turn"):
        future.result()


def test_where_a_task_is_or_why_it_waits(executor: Executor, dask_address: str, tmp_path: Path) -> None:
    future = executor.submit(tasks.sleep, tmp_path / "mark")
    read(tmp_path / "mark")
    placement = executor.where([future])[future]
    assert (placement.worker or "").startswith("tcp://")
    assert placement.reason is None
    with dask.DaskExecutor(1, Limits(gpus=2), dask_address) as greedy:
        waiting = greedy.submit(tasks.add, 1, 1)
        wait_until(lambda: greedy.where([waiting]) == {waiting: Placement(reason="no worker of the cluster has GPU=2")})
        waiting.cancel()
    future.cancel()


def test_an_address_without_a_scheduler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask, "CONNECT_SECONDS", 0.5)
    with pytest.raises(EngineLost, match=r"must answer at tcp://127\.0\.0\.1:1, but none does"):
        dask.DaskExecutor(1, address="tcp://127.0.0.1:1")


def test_without_a_scheduler_no_task_waits_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask, "CONNECT_SECONDS", 2.0)
    file = tmp_path / "scheduler.json"
    words = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
    scheduler = subprocess.Popen([sys.executable, "-m", "dask", "scheduler", *words], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: file.exists() and file.read_text().rstrip().endswith("}"))
        with dask.DaskExecutor(1, address=json.loads(file.read_text())["address"]) as executor:
            future = executor.submit(tasks.add, 1, 1)
            waiting = {future: Placement(reason="the cluster has no worker")}
            wait_until(lambda: executor.where([future]) == waiting)
            scheduler.kill()
            assert isinstance(future.exception(), EngineLost)
            assert isinstance(executor.submit(tasks.add, 1, 1).exception(), EngineLost)
            assert executor.where([future]) == {}
    finally:
        scheduler.kill()
        scheduler.wait()


def test_without_an_address_a_cluster_starts_with_the_first_task_and_ends_with_the_last() -> None:
    with dask.DaskExecutor(1) as executor:
        before = started_here()
        assert executor.submit(tasks.add, 1, 1).result() == 2
        assert started_here() > before
    assert started_here() == before


def test_a_cluster_of_this_machine_that_does_not_start_is_no_fault_of_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("Cluster failed to start")

    monkeypatch.setattr(dask, "LocalCluster", fail)
    with dask.DaskExecutor(1) as executor:
        error = executor.submit(tasks.add, 1, 1).exception()
    assert isinstance(error, EngineLost)
    assert str(error).endswith("but it does not: Cluster failed to start")


def started_here() -> set[psutil.Process]:
    """The processes that this one, and those that descend from it, started by multiprocessing."""
    family = psutil.Process().children(recursive=True)
    return {process for process in family if "spawn_main" in " ".join(process.cmdline())}
