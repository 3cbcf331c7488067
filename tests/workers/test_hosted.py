import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from processes import gone, read

from autokd.testing import tasks
from autokd.testing.executors import wait_until
from workers import hosted, worker_process
from workers.base import Limits
from workers.errors import TaskTimeout

pytestmark = pytest.mark.slow  # processes are spawned


@pytest.fixture(autouse=True)
def _idle_processes_end_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosted, "IDLE_SECONDS", 0.5)


def run(limits: Limits, function: Any, *args: Any, **options: Any) -> Any:
    """Result or exception of a task."""
    return worker_process.decode(hosted.run_hosted(worker_process.encode(function, args), limits, **options))[1]


def test_tasks_of_equal_limits_share_a_process_which_ends_when_it_is_idle() -> None:
    first, second, other = (run(limits, tasks.process_id) for limits in (Limits(), Limits(), Limits(seconds=60.0)))
    assert first == second != other
    wait_until(lambda: gone(first) and gone(other))


def test_the_end_of_an_earlier_idle_time_ends_no_process_that_has_worked_since(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = list[Callable[[], None]]()

    def timer(seconds: float, function: Callable[..., None], arguments: tuple[Any, ...]) -> Mock:
        ends.append(partial(function, *arguments))
        return Mock()

    monkeypatch.setattr("threading.Timer", timer)
    first, second = (run(Limits(), tasks.process_id) for _ in range(2))
    ends[0]()
    third = run(Limits(), tasks.process_id)
    assert first == second == third
    ends[-1]()
    wait_until(lambda: gone(first))


def test_a_killed_task_says_why() -> None:
    limits = Limits(seconds=1.0)
    run(limits, tasks.process_id)  # an import counts, too
    assert isinstance(run(limits, time.sleep, 600.0), TaskTimeout)


def test_a_task_that_is_no_longer_wanted_is_killed(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    run(Limits(), tasks.sleep, mark, is_wanted=lambda: not mark.exists())
    wait_until(lambda: gone(read(mark)))
