"""A wall clock for some processes only, which can be stepped while they run."""

import shutil
import struct
import subprocess
from pathlib import Path

__all__ = ["SteppedClock", "lacks_compiler"]

SOURCE = Path(__file__).with_name("clock.c")


class SteppedClock:
    """The clock of processes that are started with some variables.

    Args:
        folder: A folder for its two files.
        shift_seconds: How far it is ahead.
    """

    def __init__(self, folder: Path, shift_seconds: int = 0) -> None:
        self._file, library = folder / "clock", folder / "clock.so"
        self.step(shift_seconds)
        if not library.exists():
            subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE)], check=True)
        self.environment = {"LD_PRELOAD": str(library), "AUTOKD_CHAOS_CLOCK": str(self._file)}

    def step(self, shift_seconds: int) -> None:
        """Let it be so far ahead of the machine's from now on, also for processes that run."""
        self._file.touch()
        with self._file.open("r+b") as file:
            file.write(struct.pack("l", shift_seconds))


def lacks_compiler() -> str | None:
    """Why there can be no such clock here; None if there can."""
    return None if shutil.which("cc") else "a clock needs a C compiler (cc)"
