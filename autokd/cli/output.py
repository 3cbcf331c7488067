"""Output of commands: text and tables for people, or one JSON value for programs, alone on stdout."""

import json
import math
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TextIO

from rich.console import RenderableType

from autokd.core.console import PlainConsole
from autokd.core.files import write_atomically
from autokd.errors import InputError

__all__ = ["Output", "picture_format", "reserve_stdout", "show_json", "show_text", "write_picture"]

Output = Literal["text", "json"]
"""What a command prints: text for people, or one JSON value for programs."""

_reserved: list[TextIO] = []


def show_text(value: RenderableType) -> None:
    """Print text or a table to stdout; without trailing spaces if it is not a terminal."""
    console = PlainConsole()
    if console.is_terminal:
        console.print(value, soft_wrap=isinstance(value, str))
        return
    with console.capture() as captured:
        console.print(value, soft_wrap=isinstance(value, str))
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def show_json(value: Any) -> None:
    """Print one JSON value to stdout, even if it is reserved; NaN and infinity, which JSON has not, are null."""
    text = json.dumps(_finite(value), indent=2, default=_text, allow_nan=False)
    print(text, file=_reserved[-1] if _reserved else sys.stdout, flush=True)


def _text(value: object) -> str:
    """What JSON has no type for: a time as the service writes it, a path."""
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def picture_format(file: Path, formats: Collection[str]) -> str:
    """The format of a picture, which the name of its file ends in.

    Raises:
        InputError: If that is none of the formats.
    """
    form = file.suffix.removeprefix(".")
    if form not in formats:
        endings = ", ".join(f".{known}" for known in formats)
        raise InputError(f"the file to write must end in {endings}, but got {file}.")
    return form


def write_picture(file: Path, content: bytes) -> None:
    """Write the file.

    Raises:
        InputError: If it cannot be written.
    """
    try:
        write_atomically(file, lambda temporary: temporary.write_bytes(content))
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}.") from None


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
