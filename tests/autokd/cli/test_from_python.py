"""What is proposed for a search that a script began with a teacher object, which no command line has."""

import json
import shlex
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from html_pages import Page


@pytest.fixture
def home(home: Path) -> Path:
    """A home whose search a script began with a teacher object, with a failed trial and nothing at full length."""
    with sqlite3.connect(home / "autokd.db") as connection:
        row = connection.execute("SELECT config, facts FROM searches").fetchone()
        config, facts = map(json.loads, row)
        config["teacher"] |= {"factory": None, "weights": None}
        facts["command"] = ["my_script.py"]
        connection.execute("UPDATE searches SET config = ?, facts = ?", [json.dumps(config), json.dumps(facts)])
        finals = "SELECT id FROM students WHERE purpose = 'final'"
        connection.execute(f"DELETE FROM evaluations WHERE student_id IN ({finals})")
        connection.execute("DELETE FROM students WHERE purpose = 'final'")
        connection.execute("UPDATE trials SET state = 'failed', value = NULL, reason = 'lost' WHERE number = 1")
    connection.close()
    return home


def call(home: Path, verb: str, arguments: str = "") -> str:
    """The Python that goes on with the search."""
    return f"autokd.find('digits', home={str(home)!r}, teacher=...).{verb}({arguments})"


def test_best_proposes_to_train_from_python_within_the_same_limits(invoke: Any, home: Path) -> None:
    proposed = invoke("best", "digits", "--home", home).out.splitlines()[-1]
    assert proposed == f"Train it at full length: {call(home, 'train')}"
    within = invoke("best", "digits", "--within", "params=8000", "--home", home).out.splitlines()[-1]
    assert within == f"Train it at full length: {call(home, 'train', 'within=autokd.Budget(params=8000)')}"


def test_retry_and_status_go_on_from_python(invoke: Any, home: Path) -> None:
    retried = invoke("retry", "digits", "--failed", "--home", home)
    assert f"`{call(home, 'resume')}` goes on" in retried.out.splitlines()
    (line,) = [line for line in invoke("status", "digits", "--home", home).out.splitlines() if "go on with" in line]
    assert line.split(maxsplit=3)[-1] == call(home, "resume")


@pytest.mark.slow  # pictures take a second
def test_the_report_proposes_nothing_that_the_command_line_refuses(invoke: Any, home: Path) -> None:
    assert invoke("report", "digits", "out", "--home", home).code == 0
    text = Page(Path("out/index.html").read_text()).text
    assert f"{call(home, 'train')} trains it at full length" in text
    assert "autokd train" not in text
    assert "my_script.py" not in text
    export = f"autokd export digits --home {shlex.quote(str(home))} FOLDER"
    assert f"{call(home, 'train')}\n{export}\n" in text
    assert invoke("export", "digits", "exported", "--home", home).code == 0  # which needs no teacher
