import json
import math
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from autokd.cli.output import reserve_stdout, show_json, show_text
from autokd.cli.reporting import reporter
from autokd.core.console import PlainConsole
from autokd.searches.tables import facts_table

BRACKETS = "/data/[red]runs[/red]/[/x]:smile:"


def test_brackets_in_a_users_words_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    show_text(BRACKETS)
    with reporter(to_stderr=False) as lines:
        lines.notify(BRACKETS)
    assert capsys.readouterr().out == f"{BRACKETS}\n{BRACKETS}\n"


def test_a_home_with_brackets_in_its_name_can_be_used_and_is_proposed_as_it_is(
    invoke: Any, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    home = tmp_path / "[bold]runs[/x]"
    outcome = invoke("search", "digits", *tiny, "--set", "trials=1", "--home", home)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[-1] == f"Train it at full length: autokd train digits --home '{home}'"
    assert invoke("list", "--home", tmp_path / "[/]").out.startswith(f"no search in {tmp_path}/[/] yet")


def test_a_command_among_facts_is_never_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = f"autokd resume b --home {'/a-long-name' * 30}"
    facts = facts_table([("go on with", command)])
    show_text(facts)
    assert capsys.readouterr().out == f"go on with  {command}\n"
    monkeypatch.setattr(PlainConsole, "is_terminal", True)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "dumb")
    show_text(facts)
    shown = capsys.readouterr().out.replace("go on with", "").split()
    assert "".join(shown) == command.replace(" ", "")


@pytest.mark.parametrize("command", ["schema", "recipes"])  # of which one is longer than what a pipe holds
def test_a_reader_that_has_left_is_no_failure(command: str) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run([sys.executable, "-m", "autokd", command], stdout=theirs, stderr=subprocess.PIPE, check=True)
    os.close(theirs)
    assert not done.stderr


def test_what_a_terminal_cannot_show_is_a_question_mark(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "autokd", "list", "--home", str(tmp_path / "5±1")]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.startswith(f"no search in {tmp_path}/5?1 yet")


def test_times_are_printed_as_the_service_writes_them(capsys: pytest.CaptureFixture[str]) -> None:
    at = datetime(2026, 12, 2, 3, 4, 5, 678900, UTC)
    show_json({"at": at, "file": Path("a")})
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"at": TypeAdapter(datetime).dump_python(at, mode="json"), "file": "a"}


def test_what_is_printed_elsewhere_leaves_stdout_to_the_json(capfd: pytest.CaptureFixture[str]) -> None:
    with reserve_stdout():
        print("of a user's code")
        os.write(1, b"of a worker\n")
        show_json({"a": 1})
    print("after")
    captured = capfd.readouterr()
    assert captured.out == '{\n  "a": 1\n}\nafter\n'
    assert captured.err == "of a user's code\nof a worker\n"


TALKATIVE = """
from autokd.recipes.teachers import digits
print("imported")
def teacher():
    print("made")
    return digits()
"""


@pytest.mark.slow  # workers in processes of their own
def test_a_teacher_that_prints_leaves_the_json_whole(tiny: tuple[str, ...], tmp_path: Path) -> None:
    Path("my_talk.py").write_text(TALKATIVE)
    command = [sys.executable, "-m", "autokd", "search", "digits", *tiny, "-o", "json", "--home", str(tmp_path / "new")]
    command += ["--set", "teacher.factory=my_talk:teacher", "--set", "workers.engine=local", "--set", "trials=1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("{")
    assert done.stdout.endswith("}\n")
    assert "made" not in done.stdout
    assert "made" in done.stderr


def test_numbers_that_json_does_not_have_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"accuracy": math.nan, "losses": [1.5, math.inf], "pair": (-math.inf, 2)})
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "accuracy": None,
        "losses": [1.5, None],
        "pair": [None, 2],
    }
