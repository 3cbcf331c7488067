from pathlib import Path

import numpy as np
import psutil
import pytest

from workers.errors import TaskExited
from workers.worker_process import decode, encode, own_memory, run

MIB = 2**20
PROCESS = psutil.Process()


def test_allocated_memory_counts_as_own() -> None:
    before = own_memory(PROCESS)
    held = np.ones(64 * MIB, np.uint8)
    assert own_memory(PROCESS) - before > 60 * MIB
    del held


@pytest.mark.skipif(not hasattr(PROCESS.memory_info(), "shared"), reason="the system does not report shared memory")
def test_pages_of_mapped_files_do_not_count_as_own(tmp_path: Path) -> None:
    np.ones(64 * MIB, np.uint8).tofile(tmp_path / "file")
    before, all_before = own_memory(PROCESS), PROCESS.memory_info().rss
    mapped = np.memmap(tmp_path / "file", np.uint8, "r")
    assert mapped.sum(dtype=np.int64) == 64 * MIB
    assert PROCESS.memory_info().rss - all_before > 60 * MIB
    assert own_memory(PROCESS) - before < 8 * MIB


def leave(code: int) -> None:
    raise SystemExit(code)


def test_a_task_that_asks_python_to_exit_has_failed() -> None:
    succeeded, error = decode(run(encode(leave, (3,)), threads=1))
    assert not succeeded
    assert isinstance(error, TaskExited)
    assert str(error).endswith("asked Python to exit: SystemExit(3).")
