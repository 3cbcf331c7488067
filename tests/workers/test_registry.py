import sys

import pytest

from workers.base import Executor, Limits
from workers.errors import WorkerError
from workers.inline import InlineExecutor
from workers.local import LocalExecutor
from workers.registry import executor, executor_names, register_executor


def test_inline_by_name() -> None:
    assert isinstance(executor("inline"), InlineExecutor)


def test_local_by_name_has_the_requested_capacity() -> None:
    with executor("local", workers=3) as local:
        assert isinstance(local, LocalExecutor)
        assert local.capacity == 3


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(WorkerError, match="dask, inline, local, ray"):
        executor("slurm")


def test_inline_rejects_more_than_one_worker() -> None:
    with pytest.raises(WorkerError, match="must be 1, but is 2"):
        executor("inline", workers=2)


@pytest.mark.parametrize("name", ["inline", "local"])
def test_an_executor_of_this_machine_has_no_address(name: str) -> None:
    with pytest.raises(WorkerError, match=f'`address` is for the executors of clusters, .* "{name}"; omit it'):
        executor(name, address="tcp://127.0.0.1:8786")


@pytest.mark.parametrize(("name", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_an_executor_whose_package_is_missing_names_the_extra(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"workers.{name}", raising=False)
    with pytest.raises(
        WorkerError, match=rf"^The executor \"{name}\" needs {package}: pip install 'autokd\[{name}\]'\.$"
    ):
        executor(name)


def test_a_name_cannot_be_registered_twice() -> None:
    def build(workers: int, limits: Limits, address: str | None) -> Executor:
        return InlineExecutor(limits)

    with pytest.raises(WorkerError, match="taken"):
        register_executor("local", build)
    assert executor_names() == ["dask", "inline", "local", "ray"]
