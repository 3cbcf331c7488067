import dataclasses
import subprocess
import sys

import pytest

from workers.base import Limits
from workers.errors import WorkerError


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"seconds": 0.0}, {"seconds": float("nan")}, {"memory_bytes": 0}])
def test_limits_that_no_task_can_keep_are_rejected(wrong: dict[str, float]) -> None:
    with pytest.raises(WorkerError, match="must hold"):
        dataclasses.replace(Limits(), **wrong)  # type: ignore[arg-type]


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, workers.registry; print([name for name in ('torch', 'pebble', 'psutil') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
