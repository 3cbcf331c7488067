"""A damaged database is one line, whatever verb meets it, and `doctor --database` lists what is wrong."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest


def damage(home: Path, statement: str) -> None:
    with closing(sqlite3.connect(home / "autokd.db")) as connection:
        connection.execute(statement)
        connection.commit()


@pytest.mark.parametrize(
    ("statement", "verbs", "row"),
    [
        (
            "UPDATE searches SET config = 'x'",
            ("list", "status digits", "best digits", "resume digits"),
            "1 of table searches",
        ),
        (
            "UPDATE searches SET facts = '{}'",
            ("list", "status digits", "best digits", "train digits"),
            "1 of table searches",
        ),
        ("UPDATE trials SET created_at = 'x'", ("list", "show digits 0", "families digits"), "1 of table trials"),
        (
            "UPDATE trials SET parameters = '{}'",
            ("show digits 0", "families digits", "train digits"),
            "1 of table trials",
        ),
        ("UPDATE evaluations SET metrics = '{}'", ("show digits 0", "best digits -o json"), "1 of table evaluations"),
        (
            "UPDATE evaluations SET key = 'x'",
            ("best digits", "pareto digits", "resume digits"),
            "1 of table evaluations",
        ),
        ("DELETE FROM students", ("best digits", "show digits 0"), "1 of table evaluations"),
    ],
)
def test_a_damaged_row_is_named_in_one_line(invoke, home: Path, statement: str, verbs: tuple[str, ...], row: str):
    damage(home, statement)
    for verb in verbs:
        outcome = invoke(*verb.split(), "--home", home)
        assert outcome.code == 2, verb
        assert outcome.err.splitlines()[-1].startswith(f"autokd: row {row} is damaged: "), verb
        assert outcome.err.endswith("; `autokd doctor --database` lists all that are.\n"), verb


def test_doctor_lists_the_damaged_rows(invoke, home: Path):
    sound = invoke("doctor", "--database", "--home", home)
    assert (sound.code, sound.out) == (0, f"no damaged row in {home / 'autokd.db'}\n")
    assert invoke("doctor", "--database", "-o", "json", "--home", home).out == "[]\n"
    damage(home, "UPDATE evaluations SET key = 'x' WHERE id < 3")
    wrong = "key is 'x', which is none of an evaluation"
    told = invoke("doctor", "--database", "--home", home)
    assert (told.code, told.err, told.out.count(wrong)) == (2, "", 2)
    listed = invoke("doctor", "--database", "-o", "json", "--home", home)
    assert (listed.code, listed.err) == (2, "")
    assert json.loads(listed.out) == [{"table": "evaluations", "row": row, "damage": wrong} for row in (1, 2)]


def test_events_whose_details_are_gone_are_told_by_their_kind(invoke, home: Path):
    damage(home, "UPDATE events SET payload = '{}'")
    outcome = invoke("status", "digits", "--home", home)
    assert (outcome.code, outcome.err) == (0, "")
    assert "  status changed\n" in outcome.out


def test_an_error_that_no_damage_explains_keeps_its_traceback(invoke, home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("autokd.cli.show.status", lambda result, output: 1 / 0)
    outcome = invoke("status", "digits", "--home", home)
    assert (outcome.code, outcome.err.splitlines()[0]) == (5, "Traceback (most recent call last):")


def test_damage_of_another_search_explains_nothing(
    invoke, tiny: tuple[str, ...], home: Path, monkeypatch: pytest.MonkeyPatch
):
    assert invoke("search", "digits", *tiny, "--set", "trials=1", "--name", "other", "--home", home).code == 0
    damage(home, "UPDATE evaluations SET key = 'x' WHERE search_id = 1")
    monkeypatch.setattr("autokd.cli.show.status", lambda result, output: 1 / 0)
    damaged, other = (invoke("status", name, "--home", home) for name in ("digits", "other"))
    assert (damaged.code, damaged.err.splitlines()[-1].startswith("autokd: row 1 of table evaluations")) == (2, True)
    assert (other.code, other.err.splitlines()[0]) == (5, "Traceback (most recent call last):")
