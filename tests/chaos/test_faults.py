import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clocks import SteppedClock, lacks_compiler
from faults import FAULTS, Arena


def test_what_a_machine_cannot_do_is_said_in_words() -> None:
    lacks = {name: fault.lacks(Arena()) for name, fault in FAULTS.items()}
    assert lacks["restart-database"] == "SQLite has no server"
    assert lacks["fill-disk"] == "only root may mount a small disk"
    assert lacks["cut-network"] == "no worker is remote"
    assert not any(lacks[name] for name in ("kill-controller", "kill-all", "kill-worker", "corrupt-checkpoint"))
    everything = Arena(cluster=object(), disk=Path("/"), link="link")
    assert not any(FAULTS[name].lacks(everything) for name in ("restart-database", "fill-disk", "cut-network"))


def test_a_clock_is_stepped_while_its_process_runs_and_time_goes_on(tmp_path: Path) -> None:
    if lack := lacks_compiler():
        pytest.skip(lack)
    clock = SteppedClock(tmp_path, -3600)
    code = "import time\nfor _ in range(2): print(time.time(), time.monotonic(), flush=True); input()"
    command, pipe = [sys.executable, "-c", code], subprocess.PIPE
    with subprocess.Popen(
        command, env={**os.environ, **clock.environment}, stdin=pipe, stdout=pipe, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        shifts = []
        for shift in (1800, 0):
            wall, monotonic = map(float, child.stdout.readline().split())
            assert monotonic <= time.monotonic()
            shifts.append(round((wall - time.time()) / 1800))
            clock.step(shift)
            child.stdin.write("\n")
            child.stdin.flush()
    assert shifts == [-2, 1]
