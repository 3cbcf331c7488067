"""What a database cannot give is said in one line, and the database stays as it was."""

import hashlib
import json
import sqlite3
from pathlib import Path

import pytest


def digest(folder: Path) -> str:
    """Of all files' names and bytes, but SQLite's log, which is empty, and shared memory, which come and go."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal")))
    return hashlib.sha256(b"".join(str(path).encode() + path.read_bytes() for path in files)).hexdigest()


@pytest.mark.parametrize("verb", ["status", "show", "best", "families", "train", "export", "resume"])
def test_an_unknown_search_is_refused_by_every_verb(invoke, finished: Path, verb: str):
    words = {"show": ["0"], "export": ["folder"]}.get(verb, [])
    outcome = invoke(verb, "digts", *words, "--home", finished)
    message = "autokd: There is no search 'digts': did you mean 'digits'?\n"
    assert (outcome.code, outcome.out, outcome.err) == (2, "", message)


def test_an_unknown_trial_is_refused_with_those_there_are(invoke, finished: Path):
    outcome = invoke("show", "digits", "7", "--home", finished)
    assert (outcome.code, outcome.err) == (2, "autokd: search 'digits' has no trial 7: there are 0..2.\n")


@pytest.mark.parametrize("verb", ["list", "status", "train"])
def test_a_database_of_a_newer_version_is_refused_untouched(invoke, home: Path, verb: str):
    with sqlite3.connect(home / "autokd.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v9999'")
    connection.close()
    before = digest(home)
    outcome = invoke(verb, *(["digits"] if verb != "list" else []), "--home", home)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "has revision 'v9999', but this version of autokd knows them up to" in outcome.err
    assert digest(home) == before


@pytest.mark.parametrize("words", [["list"], ["search", "digits"]])
def test_a_file_that_is_no_database_is_refused_untouched(invoke, tmp_path: Path, words: list[str]):
    (tmp_path / "autokd.db").write_text("a letter to my aunt")
    outcome = invoke(*words, "--home", tmp_path)
    assert outcome.code == 2
    assert outcome.err.startswith("autokd: The database must be a SQLite file, but of ")
    assert (tmp_path / "autokd.db").read_text() == "a letter to my aunt"


def test_a_home_that_is_a_file_is_refused(invoke, tiny, tmp_path: Path):
    (tmp_path / "file").write_text("")
    outcome = invoke("search", "digits", *tiny, "--home", tmp_path / "file")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)


@pytest.mark.parametrize("verb", ["resume", "train"])
def test_what_decides_results_cannot_be_changed_later(invoke, home: Path, verb: str):
    before = digest(home / "searches")
    changes = (
        "--set",
        "training.views=3",
        "--set",
        "budget.params=9",
        "--set",
        "workers.device=meta",
        "--set",
        "trials=9",
    )
    outcome = invoke(verb, "digits", *changes, "--home", home)
    assert (outcome.code, outcome.err) == (
        2,
        "autokd: a resumed search may change only final, references, seconds, stop, tracking, trials, workers, and of "
        "these not workers.device, but "
        "budget.params: 7700 -> 9; training.views: 1 -> 3; workers.device: 'auto' -> 'meta'.\n",
    )
    status = json.loads(invoke("status", "digits", "--home", home, "-o", "json").out)
    assert (status["status"], status["trials"], digest(home / "searches")) == ("finished", 3, before)


def test_workers_that_cannot_be_had_leave_the_search_as_it_was(invoke, home: Path):
    outcome = invoke("resume", "digits", "--set", "workers.engine=rya", "--home", home)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    status = json.loads(invoke("status", "digits", "--home", home, "-o", "json").out)
    assert status["status"] == "finished"
    assert invoke("resume", "digits", "--home", home).code == 0


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://me:s3cret@host/name", "must be a file or postgresql://..., but got 'mysql'"),
        ("nothing://s3cret", "but got 'nothing'"),
        ("postgresql://me:s3cret@host:s3cret/name", "cannot be read: the port must be a number"),
        ("postgresql://me:s3c@s3cret@host/name", "cannot be read: the port must be a number"),
        ("://s3cret", "cannot be read"),
        ("s3cret", "AUTOKD_DATABASE must be a URL such as postgresql://USER:PASSWORD@HOST/NAME, but has no ://"),
        ("sqlite:////s3cret/autokd.db", "AUTOKD_DATABASE must be the URL of a server"),
        ("postgresql://me@/name?password=s3cret&nothing=1", 'says: invalid connection option "nothing"'),
        ("postgresql://me@/name?password=s3cret&host=/nowhere", "/nowhere"),
        ("postgresql://me:s3cret@a..b/name", "cannot be read"),
        ("postgresql://me:s3cret@/name?port=s3cret", "cannot be read"),
        ("sqlite://s3cret/name", "AUTOKD_DATABASE must be the URL of a server"),
        ("sqlite://", "AUTOKD_DATABASE must be the URL of a server"),
    ],
)
@pytest.mark.parametrize("words", [["list"], ["search", "digits"]])
def test_a_url_that_makes_no_sense_is_refused_without_repeating_it(
    invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], url: str, said: str
):
    pytest.importorskip("psycopg")
    monkeypatch.setenv("AUTOKD_DATABASE", url)
    outcome = invoke(*words, "--home", tmp_path)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert said in outcome.err
    assert "s3c" not in outcome.err


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "soon"])
def test_a_patience_that_is_no_time_is_refused(invoke, monkeypatch: pytest.MonkeyPatch, seconds: str):
    monkeypatch.setenv("AUTOKD_DATABASE_PATIENCE", seconds)
    outcome = invoke("list")
    message = f"autokd: AUTOKD_DATABASE_PATIENCE must be a number of seconds from 0 on, but is {seconds!r}.\n"
    assert (outcome.code, outcome.err) == (2, message)
