"""What all tests share: one thread, the same random numbers and examples every time, clusters and buckets."""

import math
import os
import signal
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings
from object_store import Bucket, running_store

# No deadline: no test asserts a wall-clock time.
settings.register_profile("autokd", deadline=None, derandomize=True)
settings.load_profile("autokd")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    """Weights that a test does not seed are the same whenever it runs."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def dask_address() -> Iterator[str]:
    """Address of a Dask cluster of two workers, each with a GPU that it declares; a task outlives one of them."""
    dask = pytest.importorskip("dask", reason="Dask is not installed: pip install 'autokd[dask]'")
    from distributed import LocalCluster

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit=None, dashboard_address=":0", resources={"GPU": 1}
        ) as cluster,
    ):
        yield cluster.scheduler_address


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A Ray cluster of this machine, to which the executors of this process connect, for two tasks and no GPU."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'autokd[ray]'")
    before = signal.getsignal(signal.SIGTERM)
    ray.init(
        address="local", num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
    )
    signal.signal(signal.SIGTERM, before)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """Address of one S3-like server for all tests."""
    with running_store() as address:
        yield address


@pytest.fixture
def bucket(object_store: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket, which this process and those that it starts may use."""
    bucket = Bucket.new(object_store)
    for name, value in bucket.variables.items():
        monkeypatch.setenv(name, value)
    return bucket


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the long tests first, in each of the processes.

    Each process begins with its part of the list and takes from the others' when it is done, so none is still in a long
    test when the others have nothing left.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    first = [item for item in items if item.get_closest_marker("long")]
    rest = [item for item in items if not item.get_closest_marker("long")]
    size = math.ceil(len(rest) / processes)
    items[:] = [item for n in range(processes) for item in (*first[n::processes], *rest[n * size : (n + 1) * size])]
