"""Every invariant holds of an undisturbed search, and finds what is planted."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import invariants
import pytest
from evidence import Evidence, read_evidence
from invariants import AT_THE_END, difference, loss, orphans, violations

from autokd.searches.workspace import Workspace

Plant = Callable[[Evidence], Evidence]


def changed_file(pattern: str, change: Callable[[bytes], bytes]) -> Plant:
    """Change the first file of a pattern in the home."""

    def plant(evidence: Evidence) -> Evidence:
        file = sorted(evidence.folder.rglob(pattern))[0]
        file.write_bytes(change(file.read_bytes()))
        return evidence

    return plant


def removed_file(pattern: str) -> Plant:
    def plant(evidence: Evidence) -> Evidence:
        sorted(evidence.folder.rglob(pattern))[0].unlink()
        return evidence

    return plant


def changed_rows(statement: str) -> Plant:
    """Change the database, and read it again."""

    def plant(evidence: Evidence) -> Evidence:
        with closing(sqlite3.connect(evidence.folder / "autokd.db")) as connection, connection:
            connection.execute(statement)
        found = read_evidence(Workspace(evidence.folder), evidence.search.name)
        assert found is not None
        return found

    return plant


def halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    """One bit is another."""
    return content[:-40] + bytes([content[-40] ^ 1]) + content[-39:]


def without_event(kind: str) -> Plant:
    return lambda evidence: replace(evidence, events=tuple(event for event in evidence.events if event.kind != kind))


PLANTED: dict[str, tuple[Plant, str]] = {
    "a trial number that is left out": (
        changed_rows("UPDATE trials SET number = 7 WHERE number = 1"),
        "damage: row 2 of table trials is damaged: its number is 7, but there is no trial 6",
    ),
    "a trial twice": (lambda e: replace(e, trials=(*e.trials, e.trials[0])), "repetition: trial 0 is there 2 times"),
    "a student twice": (
        lambda e: replace(e, students=(*e.students, e.students[0])),
        "repetition: student (1, 'search', 0)",
    ),
    "an evaluation twice": (
        lambda e: replace(e, evaluations=(*e.evaluations, e.evaluations[0])),
        "repetition: evaluation (1, 0) is there 2 times",
    ),
    "a trial that is told twice": (
        changed_rows(
            "INSERT INTO events (search_id, at, kind, payload) "
            "SELECT search_id, at, kind, payload FROM events WHERE kind = 'trial_finished'"
        ),
        "repetition: end of trial 0 is there 2 times",
    ),
    "a trial that is not told": (without_event("trial_opened"), "untold: trial 0 has no event trial_opened"),
    "an evaluation whose row is gone": (
        lambda e: replace(e, evaluations=e.evaluations[1:]),
        "untold: event evaluation_finished tells of evaluation 1, whose row does not",
    ),
    "half of a file of weights": (changed_file("weights-*.safetensors", halved), "half_written: searches/"),
    "half of a result": (changed_file("result-*.json", halved), "half_written: searches/"),
    "teacher outputs of which a bit is another": (changed_file("view-*.npy", flipped), "half_written: teachers/"),
    "an export that lacks a file": (
        removed_file("student/model.py"),
        "half_written: student/manifest.json is not whole",
    ),
    "a result that is gone": (removed_file("result-*.json"), "unfiled: result-0.json of "),
    "a result that says something else": (
        changed_rows("UPDATE evaluations SET metrics = '{\"accuracy\": 0.5}' WHERE id = 1"),
        "unfiled: result-0.json of ",
    ),
    "a trial that was lost": (
        lambda e: replace(e, trials=e.trials[:-1]),
        "unended: the trials are [0], but must be [0, 1]",
    ),
    "a trial too many": (
        lambda e: replace(e, search=replace(e.search, config={**e.search.config, "trials": 1})),
        "unended: the trials are [0, 1], but must be [0]",
    ),
    "a trial that runs on": (
        lambda e: replace(e, trials=(replace(e.trials[0], state="running"), *e.trials[1:])),
        "unended: trial 0 is running",
    ),
    "an evaluation that failed": (
        changed_rows("UPDATE evaluations SET state = 'failed' WHERE id = 1"),
        "unended: evaluation 1 is failed",
    ),
    "a search that did not end": (
        changed_rows("UPDATE searches SET status = 'running'"),
        "unended: the search is running",
    ),
}


@pytest.mark.slow  # the search of the fixture
def test_all_hold_of_an_undisturbed_search(undisturbed: Evidence) -> None:
    assert violations(undisturbed, AT_THE_END) == []
    assert [*difference(undisturbed, undisturbed), *loss(undisturbed, undisturbed), *loss(None, undisturbed)] == []


@pytest.mark.slow  # the search of the fixture
@pytest.mark.parametrize("violation", PLANTED)
def test_found_is(violation: str, copied: Evidence) -> None:
    plant, line = PLANTED[violation]
    assert [found for found in violations(plant(copied), AT_THE_END) if found.startswith(line)]


def test_every_invariant_is_seen_to_find_something() -> None:
    assert {line.partition(":")[0] for _, line in PLANTED.values()} == {one.__name__ for one in AT_THE_END}


@pytest.mark.slow  # the search of the fixture
def test_another_result_is_a_difference_in_row_and_in_export(copied: Evidence, undisturbed: Evidence) -> None:
    manifest = copied.folder / "student" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"metrics": {"test_accuracy": 0.1}}))
    other = changed_rows("UPDATE trials SET value = 0.9 WHERE number = 1")(copied)
    assert list(difference(other, undisturbed)) == [
        "trial 1 differs from the undisturbed one in value",
        "the exported files differ from the undisturbed ones",
    ]


@pytest.mark.slow  # the search of the fixture
def test_what_cannot_be_compared_is_a_difference(undisturbed: Evidence, tmp_path: Path) -> None:
    gone = replace(undisturbed, folder=tmp_path)
    assert list(difference(gone, gone)) == ["there is no export of the undisturbed one to compare with"]


@pytest.mark.slow  # the search of the fixture
def test_what_had_ended_and_is_gone_or_other_is_a_loss_and_what_ran_may_go_on(undisturbed: Evidence) -> None:
    running = replace(undisturbed, trials=(replace(undisturbed.trials[0], state="running"), *undisturbed.trials[1:]))
    assert list(loss(running, undisturbed)) == []
    assert list(loss(undisturbed, running)) == ["trial 0 had ended, and says something else now"]
    assert list(loss(undisturbed, None)) == ["the search is gone"]
    assert "trial 1 is gone" in list(loss(undisturbed, replace(undisturbed, trials=undisturbed.trials[:1])))
    assert list(loss(undisturbed, replace(undisturbed, events=undisturbed.events[1:]))) == [
        "events are gone, or differ"
    ]


def test_a_file_that_was_spoilt_on_purpose_counts_until_it_is_written_anew(copied: Evidence) -> None:
    file = sorted(copied.folder.rglob("weights-*.safetensors"))[0]
    changed_file("weights-*.safetensors", halved)(copied)
    spoilt = replace(copied, spoilt={file: file.stat().st_ino})
    assert list(invariants.half_written(spoilt)) == []
    file.with_name("new").write_bytes(file.read_bytes())
    file.with_name("new").replace(file)
    assert len(list(invariants.half_written(spoilt))) == 1


def test_a_process_that_outlives_its_controller_is_an_orphan() -> None:
    mark, words = "AUTOKD_CHAOS=test", [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"AUTOKD_CHAOS": "test"}) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert [line.split(":")[0] for line in orphans(mark, grace_seconds=0.2)] == [f"process {child.pid} lives on"]
        assert orphans(mark, [child.pid], grace_seconds=0.2) == []
        child.communicate(b"\n")
    assert orphans(mark, grace_seconds=0.2) == []
