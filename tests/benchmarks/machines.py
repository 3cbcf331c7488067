"""What a benchmark says of the machine on which it ran."""

import platform
from contextlib import suppress
from pathlib import Path

__all__ = ["processor"]


def processor() -> str:
    """Name of the processor."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
