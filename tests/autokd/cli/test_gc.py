import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from object_store import Bucket

from autokd.core.depot import Depot
from autokd.database.lease import acquire
from autokd.database.models import Search
from autokd.evaluation.remote import CHANGING
from autokd.searches.garbage import UNTOUCHED_SECONDS
from autokd.searches.workspace import Workspace

KILLED = """
import os, shutil, signal, sys
from autokd.cli import main
shutil.rmtree = lambda folder: os.kill(os.getpid(), signal.SIGKILL)
sys.argv = ["autokd", *sys.argv[1:]]
main()
"""


@pytest.fixture
def losers(home: Path) -> list[Path]:
    """Files as an earlier version left them: a checkpoint of every student, and weights of every rung."""
    with Workspace(home).open() as store:
        keys = [row.key for row in store.evaluations(1)]
    folder = home / "searches" / "digits" / "evaluations"
    found = {folder / key.split("-")[0] / "checkpoint.safetensors" for key in keys}
    found |= {folder / key.split("-")[0] / f"weights-{key.split('-')[1]}.safetensors" for key in keys}
    added = sorted(file for file in found if not file.exists())
    for file in added:
        file.write_bytes(b"12345")
    return added


def files(home: Path) -> set[Path]:
    return {file for file in home.rglob("*") if file.is_file() and "autokd.db" not in file.name}


def collected(invoke: Any, home: Path, *words: str) -> dict[str, Any]:
    """The JSON of `gc`."""
    outcome = invoke("gc", *words, "-o", "json", "--home", home)
    assert (outcome.code, outcome.err) == (0, "")
    return dict(json.loads(outcome.out))


def test_a_finished_search_has_no_checkpoint_and_nothing_to_remove(invoke: Any, finished: Path) -> None:
    assert not list((finished / "searches").rglob("*checkpoint*"))
    assert invoke("gc", "--home", finished).out == "removed 0 files, 0.0 MB\n"


def test_losers_of_an_old_search_are_removed_and_counted(invoke: Any, home: Path, losers: list[Path]) -> None:
    before = files(home)
    said = collected(invoke, home, "--dry-run")
    assert (said["files"], said["bytes"], files(home)) == (len(losers), 5 * len(losers), before)
    assert collected(invoke, home) == said | {"dry_run": False}
    assert files(home) == before - set(losers)
    assert {row["kind"] for row in said["removed"]} == {"checkpoints", "weights"}
    for words in (("best", "digits"), ("pareto", "digits"), ("export", "digits", home / "new")):
        assert invoke(*words, "--home", home).code == 0


def test_gc_answers_in_a_table(invoke: Any, home: Path, losers: list[Path]) -> None:
    lines = invoke("gc", "--dry-run", "--home", home).out.splitlines()
    assert lines[1].split() == ["search", "what", "files", "size"]
    assert lines[-1] == f"would remove {len(losers)} files, 0.0 MB"


def test_a_search_that_runs_loses_no_file_that_is_being_written(invoke: Any, home: Path, losers: list[Path]) -> None:
    part = losers[0].with_name(".checkpoint.safetensors.abcd_123.part")
    part.touch()
    with Workspace(home).open() as store:
        lease = acquire(store, "digits")
        assert collected(invoke, home, "digits")["files"] == len(losers)
        assert part.exists()
        store.set_status(lease, "finished")
        from autokd.database.lease import release

        release(store, lease)
    assert [row["kind"] for row in collected(invoke, home)["removed"]] == ["unfinished files"]
    assert not part.exists()


@pytest.mark.parametrize("kind", ["teachers", "panel"])
def test_unfinished_files_beside_evaluations_go_once_nobody_has_touched_them_for_long(
    invoke: Any, home: Path, kind: str
) -> None:
    folder = home / "searches" / "digits" / "panel" / "0123456789abcdef01234567"
    if kind == "teachers":
        folder = next(folder for folder in (home / "teachers").iterdir() if folder.is_dir())
    folder.mkdir(parents=True, exist_ok=True)
    old, new, mine = (folder / name for name in (".a.npy.abcdefgh.part", ".b.npy.abcdefgh.part", "mine.part"))
    for file in (old, new, mine):
        file.touch()
    long_ago = time.time() - UNTOUCHED_SECONDS - 60
    for file in (old, mine):
        os.utime(file, (long_ago, long_ago))
    assert collected(invoke, home)["files"] == 1
    assert (old.exists(), new.exists(), mine.exists()) == (False, True, True)


def test_exports_of_the_service_that_were_not_finished_go_once_nobody_has_touched_them_for_long(
    invoke: Any, home: Path
) -> None:
    exports = Workspace(home).exports
    files = [
        exports / folder / "weights.safetensors" for folder in (".autokd-export-old", ".autokd-export-new", "digits")
    ]
    long_ago = time.time() - UNTOUCHED_SECONDS - 60
    for file in files:
        file.parent.mkdir(parents=True)
        file.touch()
    for file in (files[0], files[2]):
        os.utime(file, (long_ago, long_ago))
    assert [row["kind"] for row in collected(invoke, home)["removed"]] == ["unfinished files"]
    assert [file.parent.exists() for file in files] == [False, True, True]


@pytest.mark.slow  # a command in an interpreter of its own
def test_what_a_killed_delete_left_is_removed(invoke: Any, home: Path) -> None:
    (home / "kill.py").write_text(KILLED)
    words = [sys.executable, str(home / "kill.py"), "delete", "digits", "--yes", "--home", str(home)]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    assert invoke("list", "--home", home).out.startswith("no search in ")
    assert (home / "searches" / "digits").is_dir()
    said = collected(invoke, home)
    assert {(row["search"], row["kind"]) for row in said["removed"]} == {
        ("digits", "deleted search"),
        (None, "teacher outputs"),
    }
    assert [*(home / "searches").iterdir(), *(home / "teachers").iterdir()] == []
    assert collected(invoke, home)["files"] == 0


def test_folders_that_another_search_has_begun_to_use_stay(
    invoke: Any, home: Path, tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", fail)
        outcome = invoke("delete", "digits", "--yes", "--home", home)
    assert (outcome.code, f"`autokd gc --home {home}` removes it" in outcome.err) == (5, True)
    assert invoke("search", "digits", *tiny, "--set", "trials=1", "--home", home).code == 0
    before = files(home)
    assert collected(invoke, home)["files"] == 0
    assert files(home) == before
    assert invoke("delete", "digits", "--yes", "--home", home).code == 0
    assert list((home / "searches").iterdir()) == []


def test_a_folder_that_the_database_does_not_know_is_named_and_left(invoke: Any, home: Path) -> None:
    unknown = home / "searches" / "theirs"
    unknown.mkdir()
    assert collected(invoke, home)["unknown"] == [str(unknown)]
    assert invoke("gc", "--home", home).out.splitlines()[1].startswith(f"left {unknown}: this database has no such")


def test_a_search_whose_configuration_cannot_be_read_keeps_all_weights_of_longest_trainings(
    invoke: Any, home: Path, losers: list[Path]
) -> None:
    with Workspace(home).open() as store, store.transaction() as session:
        session.query(Search).one().config = {"name": "digits", "trials": 3}
    assert {row["kind"] for row in collected(invoke, home)["removed"]} <= {"checkpoints", "weights"}
    with Workspace(home).open() as store:
        longest = {row.student_id: row.key for row in store.evaluations(1)}
    folder = home / "searches" / "digits" / "evaluations"
    assert all((folder / k.split("-")[0] / f"weights-{k.split('-')[1]}.safetensors").exists() for k in longest.values())


def test_a_name_that_no_search_has_is_refused(invoke: Any, home: Path) -> None:
    outcome = invoke("gc", "digts", "--home", home)
    assert (outcome.code, outcome.err) == (2, "autokd: There is no search 'digts': did you mean 'digits'?\n")


def test_files_at_a_url_are_collected_there_and_deleted_with_the_search(
    invoke: Any, home: Path, losers: list[Path], bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert invoke("resume", "digits", "--set", f"workers.files={bucket.url}", "--home", home).code == 0
    depot = Depot(bucket.url, home, CHANGING)
    for file in losers:
        file.write_bytes(b"123")
        depot.send(file)
        file.unlink()
    kept = next((home / "searches").rglob("result-*.json"))
    depot.send(kept)
    said = collected(invoke, home, "--dry-run")
    assert (said["files"], said["bytes"], len(bucket.names)) == (len(losers), 3 * len(losers), len(losers) + 1)
    assert collected(invoke, home) == said | {"dry_run": False}
    assert bucket.names == [str(kept.relative_to(home))]
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        outcome = invoke("gc", "--home", home)
        assert (outcome.code, outcome.err.count("\n")) == (2, 1)
        assert outcome.err.startswith(f"autokd: workers.files: {bucket.url} cannot be used: Could not connect")
    assert invoke("delete", "digits", "--yes", "--home", home).code == 0
    assert bucket.names == []
