import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from object_store import Bucket

from autokd.database.lease import acquire
from autokd.database.models import Evaluation, Event, Search, Student, Trial
from autokd.database.removal import delete_rows, leftovers
from autokd.searches.deletion import delete_search
from autokd.searches.workspace import Workspace


class Terminal:
    """A standard input that somebody types at."""

    def __init__(self, line: str) -> None:
        self.line = line

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return self.line


def counts(home: Path) -> list[int]:
    """Numbers of rows of every table."""
    with Workspace(home).open() as store, store.session() as session:
        return [session.query(model).count() for model in (Search, Trial, Student, Evaluation, Event)]


def test_delete_removes_rows_files_and_outputs_that_nobody_shares(invoke: Any, home: Path) -> None:
    exported = [folder / "digits" for folder in (Workspace(home).exports, Workspace(home).archives)]
    for folder in exported:
        folder.mkdir(parents=True)
    outcome = invoke("delete", "digits", "--yes", "--home", home)
    assert (outcome.code, outcome.err) == (0, "")
    assert not any(folder.exists() for folder in exported)
    assert outcome.out.startswith("deleted search 'digits': 3 trials, ")
    assert counts(home) == [0, 0, 0, 0, 0]
    assert list((home / "searches").iterdir()) == []
    assert list((home / "teachers").iterdir()) == []
    assert (home / "exported").is_dir()


def test_an_export_that_is_put_in_place_once_the_folders_are_known_is_removed_too(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(home)
    exported = workspace.exports / "digits"

    def delete_as_it_lands(*arguments: Any) -> None:
        exported.mkdir(parents=True)
        delete_rows(*arguments)

    monkeypatch.setattr("autokd.searches.deletion.delete_rows", delete_as_it_lands)
    delete_search(workspace, "digits")
    assert not exported.exists()
    with workspace.open() as store:
        assert leftovers(store) == []


def test_what_another_search_uses_stays(invoke: Any, home: Path, tiny: tuple[str, ...]) -> None:
    with Workspace(home).open() as store:
        precision = store.search("digits").facts["precision"]  # "auto" measures, and may find otherwise now
    words = ("--set", "trials=1", "--set", f"training.precision={precision}", "--home", home)
    assert invoke("search", "digits", *tiny, *words).code == 0
    shared = {file: file.read_bytes() for file in (home / "teachers").rglob("*") if file.is_file()}
    assert invoke("delete", "digits", "--yes", "--home", home).code == 0
    assert {file: file.read_bytes() for file in (home / "teachers").rglob("*") if file.is_file()} == shared
    (row,) = json.loads(invoke("list", "-o", "json", "--home", home).out)
    assert row["name"] == "digits-2"
    assert invoke("best", "digits-2", "--home", home).code == 0


def test_a_method_that_is_gone_does_not_keep_outputs(invoke: Any, home: Path) -> None:
    with Workspace(home).open() as store, store.transaction() as session:
        search = session.query(Search).one()
        search.config = {**search.config, "distillation": {"method": "gone:Method"}}
    assert invoke("delete", "digits", "--yes", "--home", home).code == 0
    assert list((home / "teachers").iterdir()) == []


def test_outputs_that_a_search_that_cannot_be_read_may_use_stay_until_it_is_deleted(
    invoke: Any, home: Path, tiny: tuple[str, ...]
) -> None:
    assert invoke("search", "digits", *tiny, "--set", "trials=1", "--home", home).code == 0
    with Workspace(home).open() as store, store.transaction() as session:
        session.query(Search).filter_by(name="digits-2").one().config = {"name": "digits-2"}
    before = set((home / "teachers").iterdir())
    assert invoke("delete", "digits", "--yes", "--home", home).code == 0
    assert set((home / "teachers").iterdir()) == before
    assert invoke("delete", "digits-2", "--yes", "--home", home).code == 0
    assert set((home / "teachers").iterdir()).isdisjoint(before) or not before


def test_a_name_that_was_deleted_is_free_again(invoke: Any, home: Path, tiny: tuple[str, ...]) -> None:
    invoke("delete", "digits", "--yes", "--home", home)
    words = ("--set", "trials=1", "--name", "digits", "--home", home)
    assert invoke("search", "digits", *tiny, *words).code == 0


def test_delete_answers_in_json(invoke: Any, home: Path) -> None:
    answer = json.loads(invoke("delete", "digits", "--yes", "-o", "json", "--home", home).out)
    assert (answer["search"], answer["trials"], answer["bytes"] > 0) == ("digits", 3, True)


def test_delete_asks_and_without_somebody_to_ask_wants_yes(
    invoke: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = counts(home)
    outcome = invoke("delete", "digits", "--home", home)
    message = "autokd: search 'digits' is deleted only if you agree: add --yes, since nobody can be asked.\n"
    assert (outcome.code, outcome.out, outcome.err) == (2, "", message)
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    monkeypatch.setattr("typer.confirm", lambda text, err: False)
    assert invoke("delete", "digits", "--home", home).err == "autokd: nothing was deleted.\n"
    assert counts(home) == before
    monkeypatch.setattr("typer.confirm", lambda text, err: "3 trials" in text)
    assert invoke("delete", "digits", "--home", home).code == 0
    assert counts(home) == [0, 0, 0, 0, 0]


def test_a_search_that_a_controller_runs_is_not_deleted(invoke: Any, home: Path) -> None:
    with Workspace(home).open() as store:
        acquire(store, "digits")
        before = counts(home)
        outcome = invoke("delete", "digits", "--yes", "--home", home)
    assert (outcome.code, outcome.out) == (2, "")
    assert "'digits' is run by process" in outcome.err
    assert counts(home) == before
    assert (home / "searches" / "digits").is_dir()


def test_a_search_that_does_not_exist_is_refused(invoke: Any, home: Path) -> None:
    outcome = invoke("delete", "digts", "--yes", "--home", home)
    assert (outcome.code, outcome.err) == (2, "autokd: There is no search 'digts': did you mean 'digits'?\n")


def test_a_search_whose_configuration_cannot_be_read_any_more_is_deleted(invoke: Any, home: Path) -> None:
    with Workspace(home).open() as store, store.transaction() as session:
        session.query(Search).one().config = {"name": "digits", "trials": 3}
    shutil.rmtree(home / "searches")
    assert invoke("delete", "digits", "--yes", "--home", home).code == 0
    assert counts(home) == [0, 0, 0, 0, 0]


def test_a_url_that_is_lost_keeps_no_search_but_is_named(
    invoke: Any, home: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert invoke("resume", "digits", "--set", f"workers.files={bucket.url}", "--home", home).code == 0
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    outcome = invoke("delete", "digits", "--yes", "--home", home)
    assert (outcome.code, outcome.err.count("\n"), counts(home)) == (5, 1, [0, 0, 0, 0, 0])
    assert f"not all of its files: workers.files: {bucket.url} cannot be used: Unable to locate cred" in outcome.err
    assert f"; remove {bucket.url}/searches/digits and {bucket.url}/teachers/" in outcome.err
