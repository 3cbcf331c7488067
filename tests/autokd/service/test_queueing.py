"""Searches that are put into the queue, and the processes that run them."""

import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from autokd.database.lease import acquire, release
from autokd.database.queue import enqueue, jobs, take
from autokd.database.rows import JobRow
from autokd.searches.api import find
from autokd.searches.workspace import Workspace
from autokd.service import run
from autokd.service.run import run_job
from autokd.service.settings import Settings
from autokd.service.supervisor import Supervisor

SECONDS = 400  # until a search that does not end fails a test, on a machine that is busy with others


def queue(home: Path) -> list[JobRow]:
    with Workspace(home).open() as store:
        return jobs(store, 100)


def find_names(home: Path) -> list[str]:
    with Workspace(home).open() as store:
        return [row.name for row in store.searches()]


def trials(home: Path, search: str) -> list[tuple[Any, ...]]:
    return [(one.trial.parameters, one.trial.state, one.values) for one in find(search, home).trials]


def tend_until(supervisor: Supervisor, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < deadline
        supervisor.tend()
        time.sleep(0.5)


def run_first(home: Path) -> tuple[str, str | None]:
    """Run the oldest job that waits, in this process."""
    with Workspace(home).open() as store:
        job = take(store, min(job.id for job in jobs(store, 100, "waiting")), 9)
        assert job is not None
    return run_job(job, Workspace(home))


@pytest.fixture
def client(serve: Any, tmp_path: Path) -> TestClient:
    client: TestClient = serve(tmp_path, "run")
    return client


@pytest.fixture
def _signals() -> Iterator[None]:
    """Keeps this process's handlers of signals from those of a job's process."""
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.fixture
def service() -> Iterator[Callable[..., Supervisor]]:
    """Makes what starts the processes of a folder's queue; they do not outlive the test."""
    made: list[Supervisor] = []

    def make(home: Path, **options: Any) -> Supervisor:
        made.append(Supervisor(Settings(Workspace(home), **options)))
        return made[-1]

    yield make
    for process, _ in (started for supervisor in made for started in supervisor.started.values()):
        process.kill()
        process.wait()


def test_an_order_waits_in_the_queue_and_nothing_else_happens(
    client: TestClient, tmp_path: Path, order: dict[str, Any]
) -> None:
    answer = client.post("/api/searches", json=order | {"priority": 7})
    assert answer.status_code == 202
    assert (answer.json()["search"], answer.json()["state"], answer.json()["priority"]) == ("first", "waiting", 7)
    assert client.get("/api/queue?state=waiting").json() == [answer.json()]
    assert client.get("/api/searches").json() == []
    (job,) = queue(tmp_path)
    assert job.config is not None
    assert (job.config["trials"], job.config["data"]) == (3, {"source": "digits"})


def test_an_order_that_is_repeated_begins_one_search(client: TestClient, order: dict[str, Any]) -> None:
    statuses = [client.post("/api/searches", json=order).status_code for _ in range(3)]
    assert statuses == [202, 409, 409]


def test_an_order_without_a_name_finds_a_free_one(client: TestClient) -> None:
    toml = '[data]\nname = "digits"\n[teacher]\nname = "digits"\n[budget]\nparams = 9000'
    orders = ({"recipe": "digits"}, {"recipe": "digits"}, {"toml": toml}, {"toml": toml})
    names = [client.post("/api/searches", json=order).json()["search"] for order in orders]
    assert names == ["digits", "digits-2", "search", "search-2"]


def test_a_waiting_job_is_cancelled_and_no_other(client: TestClient, order: dict[str, Any]) -> None:
    job = client.post("/api/searches", json=order).json()["id"]
    assert [client.delete(f"/api/queue/{job}").status_code for _ in range(2)] == [204, 409]
    assert [each["state"] for each in client.get("/api/queue").json()] == ["cancelled"]


def test_nothing_is_ordered_above_the_quota(serve: Any, home: Path, order: dict[str, Any]) -> None:
    client = serve(home, "run", quota_bytes=1000)
    for path, body in (
        ("/api/searches", order),
        *((f"/api/searches/digits/{verb}", {}) for verb in ("resume", "train")),
    ):
        assert client.post(path, json=body).status_code == 507
    assert queue(home) == []


def test_the_names_that_may_be_ordered_are_told(client: TestClient) -> None:
    assert client.get("/api/names").json() == {
        "teachers": ["digits", "fashion-mnist"],
        "data": ["digits", "fashion-mnist"],
    }


def test_a_search_that_somebody_runs_is_not_resumed(serve: Any, home: Path) -> None:
    client = serve(home, "run")
    with Workspace(home).open() as store:
        lease = acquire(store, "digits")
        refused = [client.post(f"/api/searches/digits/{verb}", json={}).status_code for verb in ("resume", "train")]
        enqueue(store, "digits", None)
        state, reason = run_first(home)
        release(store, lease)
    assert (refused, state) == ([409, 409], "stopped")
    assert "is run by process" in str(reason)


def test_a_search_that_is_to_go_on_is_in_the_queue_once(serve: Any, home: Path) -> None:
    client = serve(home, "run")
    answers = [client.post(f"/api/searches/digits/{verb}", json={}) for verb in ("resume", "resume", "train")]
    assert [answer.status_code for answer in answers] == [202, 409, 409]
    assert [answer.json()["detail"] for answer in answers[1:]] == 2 * ["Search 'digits' is in the queue already."]


@pytest.mark.slow  # a training
def test_the_winner_is_trained_at_full_length_and_the_page_tells_how_far_it_is(serve: Any, home: Path) -> None:
    with sqlite3.connect(home / "autokd.db") as connection:
        connection.execute("UPDATE searches SET config = json_set(config, '$.final.epochs', 2, '$.final.students', 1)")
    client = serve(home, "run")
    answer = client.post("/api/searches/digits/train", json={})
    assert (answer.status_code, answer.json()["trains"]) == (202, True)
    assert client.post("/api/searches/digits/train", json={}).status_code == 409  # it waits already
    assert "waiting, at full length" in client.get("/fragments/searches").text
    assert "In the queue, to be trained at full length: waiting" in client.get("/fragments/searches/digits").text
    assert run_first(home) == ("done", None)
    assert find("digits", home).best.is_final
    with Workspace(home).open() as store:
        lease = acquire(store, "digits")
        store.set_status(lease, "running")
        with store.transaction() as session:
            final = "SELECT id FROM students WHERE purpose = 'final'"
            session.execute(text(f"UPDATE evaluations SET state = 'running' WHERE student_id IN ({final})"))
        shown = client.get("/fragments/searches/digits/workers").text
        release(store, lease)
    assert "student 0, full length" in shown
    assert "of 2" in shown


def test_a_job_whose_search_cannot_begin_says_why(client: TestClient, tmp_path: Path, order: dict[str, Any]) -> None:
    order["settings"] |= {"budget.params": 1}
    client.post("/api/searches", json=order)
    state, reason = run_first(tmp_path)
    assert (state, "\n" in str(reason)) == ("failed", False)
    assert find_names(tmp_path) == []


@pytest.mark.usefixtures("_signals")
@pytest.mark.parametrize(
    ("signum", "state", "starts"), [(signal.SIGTERM, "waiting", 0), (None, "stopped", 1)], ids=["shutdown", "stop"]
)
def test_a_search_that_nobody_asked_to_stop_waits_for_the_next_service(
    client: TestClient,
    tmp_path: Path,
    order: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    signum: int | None,
    state: str,
    starts: int,
) -> None:
    client.post("/api/searches", json=order)

    def interrupted(job: JobRow, workspace: Workspace) -> tuple[str, str]:
        try:
            if signum is not None:
                signal.raise_signal(signum)
        except KeyboardInterrupt:
            pass
        return "stopped", "as it was asked to"

    monkeypatch.setattr(run, "run_job", interrupted)
    run.main(str(tmp_path), queue(tmp_path)[0].id, 1)
    assert [(job.state, job.starts) for job in queue(tmp_path)] == [(state, starts)]


@pytest.mark.usefixtures("_signals")
def test_a_search_that_was_asked_to_stop_does_not_go_on_after_a_shutdown(
    serve: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_and_shut_down(job: JobRow, workspace: Workspace) -> tuple[str, str]:
        with workspace.open() as store:
            lease = acquire(store, job.search)
            assert serve(home, "run").post("/api/searches/digits/stop", json={}).status_code == 202
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
            release(store, lease)
        return "stopped", "as it was asked to"

    serve(home, "run").post("/api/searches/digits/resume", json={})
    monkeypatch.setattr(run, "run_job", stop_and_shut_down)
    run.main(str(home), queue(home)[0].id, 1)
    assert [job.state for job in queue(home)] == ["stopped"]


@pytest.mark.usefixtures("_signals")
def test_a_job_that_hangs_before_its_search_begins_is_cancelled(
    client: TestClient, tmp_path: Path, order: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses = list[int]()

    def hang(job: JobRow, workspace: Workspace) -> tuple[str, str]:
        assert f'id="cancel-{job.id}"' in client.get("/fragments/searches").text
        cancelling = threading.Timer(0.5, lambda: statuses.append(client.delete(f"/api/queue/{job.id}").status_code))
        cancelling.start()
        with pytest.raises(KeyboardInterrupt):
            time.sleep(SECONDS)
        cancelling.join()
        return "stopped", "interrupted before it began"

    client.post("/api/searches", json=order)
    monkeypatch.setattr(run, "run_job", hang)
    monkeypatch.setattr(run, "PERIOD_SECONDS", 0.01)
    run.main(str(tmp_path), queue(tmp_path)[0].id, 1)
    assert (statuses, [(job.state, job.lease_pid) for job in queue(tmp_path)]) == ([204], [("cancelled", None)])


@pytest.mark.long
@pytest.mark.slow  # two processes that search, one after the other
def test_a_search_whose_process_and_service_are_killed_is_neither_lost_nor_begun_twice(
    client: TestClient,
    service: Callable[[Path], Supervisor],
    searched: Path,
    tmp_path: Path,
    order: dict[str, Any],
) -> None:
    client.post("/api/searches", json=order)
    client.post("/api/searches", json=order | {"name": "second", "priority": -1})
    first, second = service(tmp_path), service(tmp_path)  # the second one knows the rows alone
    tend_until(first, lambda: "first" in find_names(tmp_path) and bool(find("first", tmp_path).trials))
    assert len(first.started) == 1
    os.kill(find("first", tmp_path).row.lease_pid or 0, signal.SIGKILL)
    tend_until(second, lambda: queue(tmp_path)[1].state == "done")
    assert trials(tmp_path, "first") == trials(searched, "digits")
    assert (queue(tmp_path)[1].starts, find_names(tmp_path)) == (2, ["first"])


def test_a_process_that_ends_at_once_is_not_started_again_and_again(
    client: TestClient,
    service: Callable[..., Supervisor],
    tmp_path: Path,
    order: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client.post("/api/searches", json=order)
    supervisor, started = service(tmp_path, most_running=2), list[int]()
    monkeypatch.setattr(Supervisor, "_start", lambda self, job: started.append(job) or subprocess.Popen(["true"]))
    for _ in range(3):
        supervisor.tend()
        supervisor.started[1][0].wait()
    assert started == [1]
    monkeypatch.setattr("autokd.service.supervisor.RESTART_SECONDS", 0.0)
    supervisor.tend()
    assert started == [1, 1]
