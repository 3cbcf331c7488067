"""Lines of JSON on disk, one a run, which several processes may append and a cut-off benchmark reads again."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["append_line", "read_lines"]


def append_line(file: Path, fields: dict[str, Any]) -> None:
    """Append a line. Several processes may do so at once: a line is one write."""
    start = "\n" if _is_torn(file) else ""
    content = f"{start}{json.dumps(fields)}\n".encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab", buffering=0) as lines:
        lines.write(content)


def read_lines(file: Path) -> Iterator[dict[str, Any]]:
    """All whole lines of a file; none if there is no file. A line whose writer was killed does not count."""
    if not file.exists():
        return
    for line in file.read_text().splitlines():
        try:
            fields = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(fields, dict):  # the end of a torn line may be JSON by itself
            yield fields


def _is_torn(file: Path) -> bool:
    """Whether the last line has no end."""
    if not file.exists() or not file.stat().st_size:
        return False
    with file.open("rb") as lines:
        lines.seek(-1, os.SEEK_END)
        return lines.read() != b"\n"
