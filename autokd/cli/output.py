"""Output of commands: text and tables for people, or one JSON value for programs, alone on stdout."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO

from rich.console import RenderableType

from autokd.core.console import PlainConsole

__all__ = ["reserve_stdout", "show_json", "show_text"]

FILE_WIDTH = 160  # columns, if the output is not a terminal

_reserved: list[TextIO] = []


def show_text(value: RenderableType) -> None:
    """Print text or a table to stdout; without trailing spaces if it is not a terminal."""
    console = PlainConsole()
    if console.is_terminal:
        console.print(value, soft_wrap=isinstance(value, str))
        return
    console.width = FILE_WIDTH
    with console.capture() as captured:
        console.print(value, soft_wrap=isinstance(value, str))
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def show_json(value: Any) -> None:
    """Print one JSON value to stdout, even if it is reserved."""
    print(json.dumps(value, indent=2, default=str), file=_reserved[-1] if _reserved else sys.stdout, flush=True)


@contextmanager
def reserve_stdout() -> Iterator[None]:
    """Reserve stdout for `show_json`: what other code prints in the meantime, also in workers, goes to stderr."""
    sys.stdout.flush()
    kept = os.dup(1)
    is_real = sys.stdout is sys.__stdout__
    _reserved.append(os.fdopen(os.dup(kept), "w") if is_real else sys.stdout)
    os.dup2(2, 1)  # workers inherit the descriptor, not the object
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        out = _reserved.pop()
        if is_real:
            out.close()
