from pathlib import Path

import numpy as np
import psutil
import pytest

from workers.worker_process import own_memory

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
