"""Shared library of the package's C files, compiled once on each machine.

The library lies in the user's cache folder under a name with a digest of the sources, the compiler, its flags and the
CPU's instructions. The first process that needs it compiles it to a temporary file, which is then renamed; if two
processes start at the same time, both compile it and the second file replaces an equal one.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from ctypes import c_double, c_int, c_long, c_void_p
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

__all__ = ["SWITCH", "Kernels", "load"]

SWITCH = "AUTOKD_KERNELS"
"""Environment variable that turns the kernels off if its value is `off`."""

FOLDER = Path(__file__).parent
HEADER = FOLDER / "kernels.h"
SOURCES = tuple(FOLDER / name for name in ("batch_norm.c", "sums.c", "pooling.c", "convolution.c", "depthwise.c"))
COMPILERS = ("cc", "gcc", "clang")
FLAGS = (
    "-O3",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-shared",
    "-fPIC",
)  # none of these changes NaN
LONGEST_SECONDS = 60

SIGNATURES = {
    "norm_forward": (c_int, *[c_long] * 3, *[c_void_p] * 3, *[c_double] * 2, *[c_void_p] * 6),
    "norm_backward": (c_int, *[c_long] * 3, *[c_void_p] * 9),
    "pool_forward": (c_int, *[c_long] * 4, *[c_void_p] * 3),
    "pool_backward": (c_int, *[c_long] * 4, *[c_void_p] * 2),
    "convolution_limits": (c_void_p,),
    "convolution_forward": (*[c_long] * 5, c_int, *[c_void_p] * 4),
    "convolution_weights": (*[c_long] * 5, *[c_void_p] * 4),
    "depthwise_backward": (c_int, *[c_long] * 8, *[c_void_p] * 7),
    "weighted_sums": (c_int, *[c_long] * 2, *[c_void_p] * 5),
}


@dataclass(frozen=True)
class Kernels:
    """Result of `load`.

    Attributes:
        library: The compiled functions with their signatures; None if torch's operations must be used.
        detail: Where the library is, or why there is none.
    """

    library: ctypes.CDLL | None
    detail: str


@cache
def load() -> Kernels:
    """The kernels, compiled if necessary; on failure, a result without library instead of an error."""
    if os.environ.get(SWITCH, "").lower() == "off":
        return Kernels(None, f"torch's own operations: turned off by {SWITCH}")
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        return Kernels(None, f"torch's own operations: no C compiler ({', '.join(COMPILERS)})")
    try:
        file = _file(compiler)
        if not file.exists():
            _compile(compiler, file)
        return Kernels(_signed(ctypes.CDLL(str(file))), f"our own on one thread, compiled by {compiler}: {file}")
    except subprocess.SubprocessError as error:
        return Kernels(None, f"torch's own operations: {compiler} failed, {_reason(error)}")
    except (OSError, RuntimeError, AttributeError) as error:
        return Kernels(None, f"torch's own operations: {error}")


def _file(compiler: str) -> Path:
    """Path of the library, whose name depends on the sources, and on the compiler's macros for version and CPU."""
    macros = _run(compiler, *FLAGS, "-dM", "-E", "-x", "c", os.devnull)
    digest = sha256(b"\0".join([*(file.read_bytes() for file in (HEADER, *SOURCES)), " ".join(FLAGS).encode(), macros]))
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "autokd" / f"kernels-{digest.hexdigest()[:16]}.so"


def _compile(compiler: str, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix="compiling-") as folder:
        made = Path(folder) / file.name
        _run(compiler, *FLAGS, *map(str, SOURCES), "-o", str(made), "-lm")
        with made.open("rb+") as written:
            os.fsync(written.fileno())
        made.replace(file)


def _run(*command: str) -> bytes:
    return subprocess.run(command, check=True, capture_output=True, timeout=LONGEST_SECONDS).stdout


def _signed(library: ctypes.CDLL) -> ctypes.CDLL:
    for name, arguments in SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, None
    return library


def _reason(error: subprocess.SubprocessError) -> str:
    lines = getattr(error, "stderr", None) or b""
    return next(iter(lines.decode(errors="replace").splitlines()), str(error))
