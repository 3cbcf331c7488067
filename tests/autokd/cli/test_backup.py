"""A copy of the searches, taken while one of them is written."""

import json
import sqlite3
import threading
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from autokd.database.errors import LeaseLost
from autokd.database.lease import acquire, heartbeat, is_owned, release, request_stop
from autokd.database.queue import enqueue, next_jobs, take
from autokd.searches.api import find
from autokd.searches.backup import _copy_database, back_up
from autokd.searches.deletion import bytes_in
from autokd.searches.doctor import find_damage
from autokd.searches.workspace import Workspace


def files(folder: Path) -> dict[Path, bytes]:
    """The files but those of the database."""
    found = (file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("autokd.db"))
    return {file.relative_to(folder): file.read_bytes() for file in found}


def test_a_copy_that_is_taken_while_a_search_writes_is_whole(invoke: Any, home: Path, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        with Workspace(home).open() as store:
            lease = acquire(store, "digits")
            while not stop.is_set():
                store.record_event(lease, "test", {"text": 1000 * "x"})
            release(store, lease)

    writer = threading.Thread(target=write)
    writer.start()
    outcome = invoke("backup", tmp_path / "copy", "-o", "json", "--home", home)
    stop.set()
    writer.join()
    assert outcome.code == 0, outcome.err
    copied = json.loads(outcome.out)
    assert (copied["searches"], copied["files"]) == (1, len(files(home)))
    assert files(tmp_path / "copy") == files(home)
    assert find_damage(Workspace(tmp_path / "copy")) == []
    assert find("digits", tmp_path / "copy").progress.complete == find("digits", home).progress.complete


def test_files_that_go_or_come_while_the_database_is_copied_are_there(home: Path, tmp_path: Path) -> None:
    goes, comes = home / "searches" / "goes", home / "searches" / "comes"
    goes.write_text("weights that rows of the copy may name")

    def copy(source: Path, target: Path) -> None:
        _copy_database(source, target)
        comes.write_text("weights of a row that was just written")
        goes.unlink()

    with mock.patch("autokd.searches.backup._copy_database", copy):
        done = back_up(Workspace(home), tmp_path / "copy")
    assert {goes.relative_to(home), comes.relative_to(home)} <= set(files(tmp_path / "copy"))
    assert done.files == len(files(tmp_path / "copy"))
    assert done.bytes == bytes_in(tmp_path / "copy")


def test_nobody_owns_what_is_in_a_copy_of_a_search_that_runs(home: Path, tmp_path: Path) -> None:
    with Workspace(home).open() as store:
        lease = acquire(store, "digits")
        request_stop(store, "digits", "gracefully")
        job = enqueue(store, "digits", None)
        assert take(store, job.id, 1) is not None
        back_up(Workspace(home), tmp_path / "copy")
        assert (is_owned(store, "digits"), heartbeat(store, lease)) == (True, "gracefully")
    with Workspace(tmp_path / "copy").open() as copy:
        assert (is_owned(copy, "digits"), copy.search("digits").stop) == (False, None)
        assert [job.id for job in next_jobs(copy, 1)] == [job.id]
        with pytest.raises(LeaseLost):  # where the copy is put in the original's place while that is run
            heartbeat(copy, lease)


def test_unfinished_files_are_left_out(invoke: Any, home: Path, tmp_path: Path) -> None:
    (home / ".weights.abcd1234.part").write_text("half")
    assert invoke("backup", tmp_path / "copy", "--home", home).out.startswith("copied 1 search with ")
    assert not (tmp_path / "copy" / ".weights.abcd1234.part").exists()


def test_what_links_lead_to_is_copied_once(invoke: Any, home: Path, tmp_path: Path) -> None:
    before, size, disk = files(home), bytes_in(home / "searches"), tmp_path / "disk"
    (home / "searches").rename(disk)
    (home / "searches").symlink_to(disk)
    assert bytes_in(home / "searches") == size
    (disk / "back").symlink_to(home)
    assert invoke("backup", disk / "copy", "--home", home).code == 0
    assert files(disk / "copy") == before


def test_a_database_that_cannot_be_copied_is_one_line(
    invoke: Any, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = sqlite3.OperationalError("unable to open database file")
    monkeypatch.setattr("autokd.searches.backup._copy_database", mock.Mock(side_effect=error))
    outcome = invoke("backup", tmp_path / "copy", "--home", home)
    assert outcome.code == 2
    assert "autokd.db cannot be copied to " in outcome.err
    assert outcome.err.endswith("copy: unable to open database file.\n")


@pytest.mark.parametrize(
    ("folder", "said"), [(".", "is within the folder of searches itself"), ("../here", "is not empty")]
)
def test_nothing_is_written_where_something_is(invoke: Any, home: Path, folder: str, said: str) -> None:
    (home.parent / "here" / "precious").write_text("precious")
    outcome = invoke("backup", home / folder, "--home", home)
    assert outcome.code == 2
    assert said in outcome.err


def test_a_database_on_a_server_is_left_to_its_own_tool(invoke: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("AUTOKD_DATABASE", "postgresql://me:secret@nowhere/x")
    outcome = invoke("backup", tmp_path / "copy", "--home", tmp_path / "home")
    assert outcome.code == 2
    assert "copy it by `pg_dump`" in outcome.err
    assert "secret" not in outcome.err
