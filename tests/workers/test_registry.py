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
    with pytest.raises(WorkerError, match="inline, local"):
        executor("slurm")


def test_inline_rejects_more_than_one_worker() -> None:
    with pytest.raises(WorkerError, match="workers=2"):
        executor("inline", workers=2)


def test_a_name_cannot_be_registered_twice() -> None:
    def build(workers: int, limits: Limits) -> Executor:
        return InlineExecutor(limits)

    with pytest.raises(WorkerError, match="taken"):
        register_executor("local", build)
    assert executor_names() == ["inline", "local"]
