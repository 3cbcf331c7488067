"""Modules of a user that fail to load."""

from pathlib import Path

import pytest

__all__ = ["FAILURES", "NAME", "write_broken"]

NAME = "broken_for_tests"
FAILURES = {
    "def (": rf"SyntaxError: invalid syntax \({NAME}.py, line 1\)",
    "raise RuntimeError('boom\\nsecond')": "RuntimeError: boom",
    "raise SystemExit(3)": "SystemExit: 3",
    "import nothing_like_it": "ModuleNotFoundError: No module named 'nothing_like_it'",
}
"""What is in them, and the reason that a message should tell, as a pattern."""


def write_broken(folder: Path, content: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write such a module where it can be imported from, and return the name of a class that it would have."""
    (folder / f"{NAME}.py").write_text(content)
    monkeypatch.syspath_prepend(folder)
    return f"{NAME}:X"
