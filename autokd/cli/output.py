"""Where commands print: text and tables for people, one JSON value for programs, which has stdout for itself."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO

from rich.console import RenderableType

from autokd.searches.tables import PlainConsole

__all__ = ["reserve_stdout", "show_json", "show_text"]

FILE_WIDTH = 160  # columns, where there is no terminal to ask

_reserved: list[TextIO] = []


def show_text(value: RenderableType) -> None:
    """Print text or a table to stdout; without a terminal in lines that end where their text ends."""
    console = PlainConsole()
    if console.is_terminal:
        console.print(value, soft_wrap=isinstance(value, str))
        return
    console.width = FILE_WIDTH
    with console.capture() as captured:
        console.print(value, soft_wrap=isinstance(value, str))
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def show_json(value: Any) -> None:
    """Print one JSON value to stdout, be it reserved or not."""
    print(json.dumps(value, indent=2, default=str), file=_reserved[-1] if _reserved else sys.stdout, flush=True)


@contextmanager
def reserve_stdout() -> Iterator[None]:
    """Leave stdout to `show_json`: what a user's code prints meanwhile, here or in workers, goes to stderr."""
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
