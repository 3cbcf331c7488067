"""The Ray executor, with a real cluster of this machine."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hosted_tasks import HostedTasks
from processes import gone, read

from autokd.testing import tasks
from autokd.testing.executors import ExecutorConformance, wait_until
from workers.base import Executor, Limits, Placement
from workers.errors import EngineLost, WorkerLost

ray = pytest.importorskip("workers.ray", reason="Ray is not installed: pip install 'autokd[ray]'")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]  # processes are started


class TestConformance(ExecutorConformance):
    @pytest.fixture
    def executor(self) -> Iterator[Executor]:
        executor = ray.RayExecutor(2)
        yield executor
        executor.shutdown(cancel=True)


class TestHostedTasks(HostedTasks):
    @pytest.fixture
    def make(self) -> Callable[[Limits], Executor]:
        return lambda limits: ray.RayExecutor(1, limits)


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ray.RayExecutor(1) as executor:
        yield executor


def test_where_a_task_is_and_that_it_is_lost_with_its_worker(executor: Executor, tmp_path: Path) -> None:
    future = executor.submit(tasks.sleep, tmp_path / "mark")
    worker = psutil.Process(read(tmp_path / "mark")).parent()
    assert worker is not None
    assert (executor.where([future])[future].worker or "").endswith(f":{worker.pid}")
    worker.kill()
    with pytest.raises(WorkerLost, match="but Ray lost it"):
        future.result()
    wait_until(lambda: gone(read(tmp_path / "mark")))


def test_a_task_for_which_no_node_has_enough_says_what_it_waits_for() -> None:
    with ray.RayExecutor(1, Limits(gpus=1)) as executor:
        future = executor.submit(tasks.add, 1, 1)
        waiting = {future: Placement(reason="no node of the cluster has CPU=1, GPU=1")}
        wait_until(lambda: executor.where([future]) == waiting)
        future.cancel()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere"])
def test_an_address_without_a_cluster_is_refused(address: str) -> None:
    with pytest.raises(EngineLost, match=rf"must answer at {address} \(HOST:PORT\), but none does"):
        ray.RayExecutor(1, address=address)
