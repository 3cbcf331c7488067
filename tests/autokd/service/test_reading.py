"""Routes that read say what the command line prints, over a real database of a small search."""

import json
import sqlite3
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from pydantic_core import from_json, to_json
from safetensors.torch import save_file
from starlette.testclient import TestClient

from autokd.analysis.plain_values import families_json, pareto_json, status_json, student_or_reference_json, trial_json
from autokd.analysis.status_facts import status_facts
from autokd.database.lease import acquire, release
from autokd.evaluation.task import checkpoints
from autokd.searches.api import find
from autokd.searches.findings import Findings
from autokd.searches.workspace import Workspace

ANSWERS: dict[str, Any] = {
    "/api/searches/digits": status_json,
    "/api/searches/digits/progress": lambda result: result.progress,
    "/api/searches/digits/best": lambda result: Findings.of(result).to_json(),
    "/api/searches/digits/families": lambda result: {"families": families_json(result, 10)},
    "/api/searches/digits/pareto?against=macs": lambda result: pareto_json(result, ["macs"]),
    "/api/searches/digits/students?offset=1": lambda result: [
        student_or_reference_json(student) for student in result.students[1:]
    ],
    "/api/searches/digits/configuration": lambda result: result.config.to_dict(),
}


def lost(answer: Any, printed: Any, where: str = "") -> list[str]:
    """What an answer does not say of what the command line prints, which omits a key where the answer has null."""
    if isinstance(printed, dict):
        return [line for key, value in printed.items() for line in lost(answer.get(key), value, f"{where}.{key}")]
    if isinstance(printed, list) and isinstance(answer, list) and len(answer) == len(printed):
        return [
            line for n, pair in enumerate(zip(answer, printed, strict=True)) for line in lost(*pair, f"{where}.{n}")
        ]
    return [] if answer == printed else [f"{where} is {answer}, not {printed}"]


@pytest.mark.parametrize("path", ANSWERS)
def test_an_answer_says_all_that_the_command_line_prints(reader: TestClient, searched: Path, path: str) -> None:
    answer = reader.get(path)
    assert answer.status_code == 200, answer.text
    assert lost(answer.json(), from_json(to_json(ANSWERS[path](find("digits", searched))))) == []


@pytest.mark.parametrize("path", ["", "/best", "/families"])
def test_an_answer_that_asks_the_model_says_of_when_it_is(serve: Any, home: Path, path: str) -> None:
    client, seen = serve(home), []
    with Workspace(home).open() as store:
        newest = store.last_events(1, 1)[0].id
        for _ in range(2):
            as_of = client.get(f"/api/searches/digits{path}").json()["as_of"]
            seen.append((as_of["event"], as_of["is_newest"]))
            release(store, acquire(store, "digits"))
    assert seen == [(newest, True), (newest, False)]


def test_the_progress_of_a_status_is_of_now(serve: Any, home: Path) -> None:
    client = serve(home)
    assert client.get("/api/searches/digits").json()["status"] == "finished"
    with Workspace(home).open() as store:
        lease = acquire(store, "digits")
        store.set_status(lease, "running")
        assert client.get("/api/searches/digits").json()["status"] == "running"
        release(store, lease)


def test_a_trial_is_told_whole_but_for_what_only_the_database_needs(reader: TestClient, searched: Path) -> None:
    result = find("digits", searched)
    missing = lost(
        reader.get("/api/searches/digits/trials/0").json(), from_json(to_json(trial_json(result.trial(0), result)))
    )
    assert {line.split(" ")[0] for line in missing} <= {".trial.id", ".trial.search_id", ".trial.opened_after"}


def test_the_list_has_every_search(reader: TestClient) -> None:
    (progress,) = reader.get("/api/searches").json()
    assert (progress["name"], progress["status"], progress["complete"] + progress["pruned"]) == (
        "digits",
        "finished",
        3,
    )


def test_a_home_without_a_search_has_an_empty_list(serve: Any, tmp_path: Path) -> None:
    assert serve(tmp_path).get("/api/searches").json() == []


@pytest.mark.parametrize(
    "path", ["/api/searches/digitz", "/api/searches/digits/trials/3", "/api/searches/digits/export"]
)
def test_what_is_not_there_is_404_in_one_line(reader: TestClient, path: str) -> None:
    answer = reader.get(path)
    assert answer.status_code == 404
    assert set(answer.json()) == {"detail"}
    assert "\n" not in answer.json()["detail"]


def test_the_events_come_page_by_page(reader: TestClient, searched: Path) -> None:
    with Workspace(searched).open() as store:
        ids = [event.id for event in store.events(1)]
    first = [event["id"] for event in reader.get("/api/searches/digits/events?most=5").json()]
    rest = [event["id"] for event in reader.get(f"/api/searches/digits/events?most=1000&after={first[-1]}").json()]
    assert first + rest == ids


def test_the_workers_tell_which_process_runs_a_search(serve: Any, home: Path) -> None:
    with Workspace(home).open() as store:
        lease = acquire(store, "digits")
        row = store.search("digits")
        answer = serve(home).get("/api/searches/digits/workers").json()
        release(store, lease)
    assert (answer["host"], answer["pid"]) == (row.lease_host, row.lease_pid)


def test_a_process_that_was_killed_runs_no_search(serve: Any, home: Path) -> None:
    with Workspace(home).open() as store:
        lease = acquire(store, "digits")
        release(store, lease)
    with sqlite3.connect(home / "autokd.db") as connection:  # as another machine leaves it that lost its power
        connection.execute(
            "UPDATE searches SET lease_host = 'gone', lease_machine = 'gone', lease_pid = 7, "
            "lease_process_started = 1, lease_heartbeat_at = '2026-01-01 00:00:00.000000'"
        )
    answer = serve(home).get("/api/searches/digits/workers").json()
    assert (answer["host"], answer["pid"], answer["heartbeat_at"]) == (None, None, None)


def test_page_api_and_command_line_tell_how_far_a_training_is(serve: Any, home: Path) -> None:
    with sqlite3.connect(home / "autokd.db") as connection:
        connection.execute("UPDATE trials SET state = 'running', value = NULL, finish_order = NULL WHERE number = 2")
        connection.execute("UPDATE evaluations SET state = 'running', metrics = NULL WHERE id = 6")
    result, client = find("digits", home), serve(home)
    key = result.trial(2).evaluations[-1].key
    progress = {"format": 3, "step": 9, "epochs": 1.5, "steps_per_second": 0.1}
    file = checkpoints(result.problem.evaluations, key).trunk
    save_file({"x": torch.zeros(1)}, file, {"progress": json.dumps(progress)})
    with Workspace(home).open() as store:
        lease = acquire(store, "digits")
        store.set_status(lease, "running")
        (told,) = client.get("/api/searches/digits/workers").json()["evaluations"]
        page = client.get("/fragments/searches/digits/workers").text
        line = dict(status_facts(result, asks_model=False))["running"]
        release(store, lease)
    assert (told["key"], told["epochs_done"], told["epochs"]) == (key, 1.5, 2.0)
    speed = f"{told['images_per_second']:,.0f}"
    assert ('max="2.0" value="1.5"' in page, f">{speed}<" in page, 'data-again="2"' in page) == (True, True, True)
    assert line.startswith(f"trial 2, student 0: epoch 1.5 of 2, {speed} images/s, about ")


def test_a_failed_trial_is_told_with_its_reason(serve: Any, home: Path) -> None:
    with sqlite3.connect(home / "autokd.db") as connection:
        connection.execute("UPDATE trials SET state = 'failed', reason = 'too warm' WHERE number = 1")
    (failure,) = serve(home).get("/api/searches/digits/failures").json()
    assert (failure["trial"], failure["reason"], failure["is_workers_fault"]) == (1, "too warm", False)


def test_a_value_that_json_lacks_is_null(serve: Any, home: Path) -> None:
    with sqlite3.connect(home / "autokd.db") as connection:
        connection.execute(
            """UPDATE evaluations SET metrics = json_set(metrics, '$.auroc', json('{"__float__": "nan"}'))"""
        )
    students = serve(home).get("/api/searches/digits/students").json()
    assert {student["metrics"]["auroc"] for student in students} == {None}


def test_a_search_without_a_student_has_no_best_one_yet(serve: Any, home: Path) -> None:
    with sqlite3.connect(home / "autokd.db") as connection:
        connection.execute("UPDATE evaluations SET state = 'running', metrics = NULL")
    answer = serve(home).get("/api/searches/digits/best")
    assert (answer.status_code, answer.json()) == (409, {"detail": "search 'digits' has no trained student yet."})


def test_a_damaged_row_is_500_and_named(serve: Any, home: Path) -> None:
    with sqlite3.connect(home / "autokd.db") as connection:
        connection.execute("UPDATE searches SET created_at = 'soon'")
    answer = serve(home).get("/api/searches/digits/progress")
    assert answer.status_code == 500
    assert "row 1 of table searches is damaged" in answer.json()["detail"]


def test_a_service_is_ready_while_its_database_can_be_read(serve: Any, home: Path) -> None:
    client = serve(home, None)
    assert client.get("/health/ready").json() == client.get("/health/live").json() == {"status": "ok"}
    (home / "autokd.db").write_text("no database")
    assert (client.get("/health/ready").status_code, client.get("/health/live").status_code) == (503, 200)


def test_a_service_on_a_full_disk_is_not_ready(serve: Any, searched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve(searched, None)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: mock.Mock(free=1000))
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()) == (503, {"detail": "the disk is full"})


def test_the_metrics_count_trials_and_requests_by_route(serve: Any, searched: Path) -> None:
    client = serve(searched)
    client.get("/api/searches/digits/progress")
    text = client.get("/metrics").text
    assert 'autokd_searches{status="finished"} 1.0' in text
    assert 'autokd_trials{search="digits",state="failed"} 0.0' in text
    assert 'autokd_requests_total{method="GET",route="/api/searches/{search}/progress",status="200"} 1.0' in text
