"""Names and paths that no file system takes are refused in one line."""

from pathlib import Path
from typing import Any

import pytest

LONG = "x" * 300


@pytest.mark.parametrize(
    "words",
    [
        ("search", LONG),
        ("search", f"{LONG}.toml"),
        ("init", LONG),
        ("init", "digits", f"{LONG}.toml"),
        ("search", "digits", "--home", LONG),
        ("status", "digits", "--home", LONG),
        ("resume", "digits", "--home", f"{LONG}/below"),
        ("search", "digits", "--name", "a" * 200),
        ("search", "digits", "--export", LONG),
        ("verify", LONG),
        ("draw", LONG, "out.svg"),
        ("delete", "digits", "--yes", "--home", LONG),
    ],
)
def test_a_name_that_is_too_long_is_one_line(invoke: Any, words: tuple[str, ...]) -> None:
    outcome = invoke(*words)
    assert (outcome.code, outcome.out) == (2, ""), outcome.err
    assert outcome.err.startswith("autokd: ")
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("verb", ["list", "doctor"])
def test_a_home_that_is_too_long_has_no_search(invoke: Any, verb: str) -> None:
    outcome = invoke(verb, "--home", LONG)
    assert (outcome.code, outcome.err) == (0, "")


@pytest.mark.parametrize("verb", ["search", "status"])
def test_a_home_that_is_a_file_is_told_before_anything_else(invoke: Any, verb: str) -> None:
    Path("file").touch()
    outcome = invoke(verb, "digits", "--home", "file")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.endswith("file cannot be used: it is a file.\n")
