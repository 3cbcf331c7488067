"""The page: a shell that anybody may load, and fragments that say what the command line and the report say."""

import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from html_pages import Page
from starlette.testclient import TestClient

import autokd
from autokd.analysis.report import report_page
from autokd.analysis.status_facts import status_facts
from autokd.analysis.trial_facts import trial_facts
from autokd.database.lease import acquire, release
from autokd.database.queue import end, enqueue, take
from autokd.database.rows import JobState
from autokd.searches.api import find
from autokd.searches.workspace import Workspace
from autokd.service.pages.shell import POLICY

STATIC = Path(autokd.__file__).parent / "service" / "pages" / "static"
FRAGMENTS = "/fragments/searches/digits"
SCRIPT = "<script>alert(1)</script>"


def page(client: TestClient, path: str) -> Page:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    return Page(answer.text)


def buttons(client: TestClient, path: str) -> set[str]:
    return set(re.findall(r'<button [^>]*id="([a-z-]+)"', client.get(path).text))


@pytest.mark.parametrize("path", ["/", "/new", "/searches/digits", "/searches/digits/trials/1"])
def test_the_shell_has_no_data_and_loads_what_the_service_sends_alone(clients: Any, path: str) -> None:
    answer = clients(None).get(path)
    shell = Page(answer.text)
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert "digits" not in answer.text
    assert {link for link in shell.links if not link.startswith(("#", "data:", "/"))} == set()
    assert "style" not in shell.tags


def test_every_file_that_the_shell_and_its_scripts_name_comes_without_a_token(clients: Any) -> None:
    written = "".join(file.read_text() for file in STATIC.iterdir())
    names = set(re.findall(r'"(/static/[^"]+)"', written))
    assert len(names) >= 8
    kinds = {name: clients(None).get(name).headers["Content-Type"].split(";")[0] for name in names}
    assert kinds == {name: "text/css" if name.endswith(".css") else "text/javascript" for name in names}
    assert clients(None).get("/static/shell.html").status_code == 404


def test_the_searches_are_those_of_the_command_line_and_lead_to_their_pages(reader: TestClient) -> None:
    shown = page(reader, "/fragments/searches")
    assert shown.links == ["/searches/digits"]
    assert "finished" in shown.text


def test_the_progress_of_a_search_is_what_status_says_without_the_model(reader: TestClient, searched: Path) -> None:
    facts = status_facts(find("digits", searched), asks_model=False)[1:]
    shown = page(reader, f"{FRAGMENTS}/facts")
    assert [sentence for _, sentence in facts if sentence not in shown.text] == []
    progress = page(reader, f"{FRAGMENTS}/progress").text
    assert "finished, 3 of 3 trials" in progress
    assert progress in page(reader, FRAGMENTS).text


@pytest.mark.slow  # pictures take a second
def test_what_a_search_found_is_all_of_its_report(reader: TestClient, searched: Path) -> None:
    result = find("digits", searched)
    shown, report = page(reader, f"{FRAGMENTS}/findings"), Page(report_page(result))
    as_of, _, told = shown.text.strip().partition("\n")
    assert as_of.startswith("As of ")
    assert shown.tables == report.tables
    assert told.strip() in report.text
    trials = [result.best.trial.number, *(family.trial for family in result.families)]
    inside = {link for link in shown.links if link.startswith("#")}
    assert [link for link in shown.links if link not in inside] == [f"/searches/digits/trials/{n}" for n in trials]
    assert set(report.links) == inside
    assert "Learning curves" in shown.text


def test_findings_that_are_not_the_newest_are_asked_for_again(serve: Any, home: Path) -> None:
    with sqlite3.connect(home / "autokd.db") as connection:  # so that there is nothing to draw
        connection.execute("UPDATE evaluations SET state = 'running', metrics = NULL")
    client, shown = serve(home), []
    for _ in range(2):
        shown.append(client.get(f"{FRAGMENTS}/findings").text)
        with Workspace(home).open() as store:
            release(store, acquire(store, "digits"))
    assert ["data-again" in html for html in shown] == [False, True]
    assert ["what came since is added soon" in html for html in shown] == [False, True]


def test_the_trials_come_page_by_page_the_newest_first(reader: TestClient) -> None:
    every, earlier = page(reader, f"{FRAGMENTS}/trials"), page(reader, f"{FRAGMENTS}/trials?end=2")
    assert every.links == [f"/searches/digits/trials/{number}" for number in (2, 1, 0)]
    assert earlier.links == every.links[1:]


def test_a_trial_has_its_facts_and_a_drawing_whose_nodes_tell_their_cost(reader: TestClient, searched: Path) -> None:
    result = find("digits", searched)
    shown = page(reader, f"{FRAGMENTS}/trials/1")
    assert [value for _, value in trial_facts(result.trial(1), result) if value not in shown.text] == []
    drawn = reader.get(f"{FRAGMENTS}/trials/1/drawings").text
    nodes = len(result.trial(1).students[0].architecture["nodes"])
    assert len(re.findall(r"<title>\w+: [\w]+, [\d x]+, [\d,]+ params, [\d,]+ MACs</title>", drawn)) == 2 * nodes
    assert "style=" not in drawn


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE trials SET state = 'running', value = NULL, finish_order = NULL WHERE number = 2",
        "UPDATE evaluations SET state = 'running', metrics = NULL WHERE id = 6",  # as at full length
    ],
)
def test_the_page_of_a_trial_is_asked_for_again_while_it_is_trained(serve: Any, home: Path, change: str) -> None:
    client = serve(home)
    ended = client.get(f"{FRAGMENTS}/trials/2").text
    with sqlite3.connect(home / "autokd.db") as connection:
        connection.execute(change)
    assert ["data-again" in html for html in (ended, client.get(f"{FRAGMENTS}/trials/2").text)] == [False, True]


def test_there_is_no_page_of_what_is_not_there(reader: TestClient) -> None:
    assert reader.get("/fragments/searches/none").status_code == 404
    assert reader.get(f"{FRAGMENTS}/trials/99").status_code == 404


def test_a_token_sees_the_buttons_that_it_may_press(clients: Any, serve: Any, searched: Path) -> None:
    shown = {role: buttons(clients(role), FRAGMENTS) for role in ("read", "run", "admin")}
    assert shown == {"read": set(), "run": {"train"}, "admin": {"train", "delete"}}
    assert buttons(clients("read"), f"{FRAGMENTS}/export") == set()
    assert buttons(clients("run"), f"{FRAGMENTS}/export") == {"export"}
    assert ["/new" in page(clients(role), "/fragments/").links for role in ("read", "run")] == [False, True]
    assert buttons(serve(searched, "admin", read_only=True), FRAGMENTS) == set()


@pytest.mark.parametrize(
    ("status", "there"),
    [("running", {"resume", "train", "delete"}), ("interrupted", {"resume", "train", "delete"})],
)
def test_a_search_that_nobody_runs_can_be_resumed(serve: Any, home: Path, status: str, there: set[str]) -> None:
    with sqlite3.connect(home / "autokd.db") as connection:
        connection.execute("UPDATE searches SET status = ?", [status])
    client = serve(home, "admin")
    assert buttons(client, FRAGMENTS) == there
    assert client.post("/api/searches/digits/resume", json={}).status_code == 202
    assert buttons(client, FRAGMENTS) == {"delete"}
    assert "In the queue: waiting" in page(client, FRAGMENTS).text


def test_a_search_that_waits_or_failed_to_begin_has_a_page(serve: Any, tmp_path: Path) -> None:
    client = serve(tmp_path)
    with Workspace(tmp_path).open(create=True) as store:
        job = enqueue(store, "first", {"trials": 1})
        assert "waits in the queue" in page(client, "/fragments/searches/first").text
        take(store, job.id, 1)
        assert "It begins" in page(client, "/fragments/searches/first").text
        end(store, job.id, "failed", SCRIPT)
    shown = page(client, "/fragments/searches/first")
    assert f"It did not begin: failed, {SCRIPT}" in shown.text
    assert SCRIPT in page(client, "/fragments/searches").text


def test_a_job_that_failed_leaves_the_queue_once_its_search_has_another(serve: Any, tmp_path: Path) -> None:
    client = serve(tmp_path)
    with Workspace(tmp_path).open(create=True) as store:
        for reason in ("no teacher", "no data"):
            job = enqueue(store, "first", {"trials": 1})
            take(store, job.id, 1)
            end(store, job.id, "failed", reason)
        shown = page(client, "/fragments/searches").text
        assert ("no teacher" in shown, "no data" in shown) == (False, True)
        job = enqueue(store, "first", {"trials": 1})
        take(store, job.id, 1)
        end(store, job.id, "done")
    assert "Queue" not in page(client, "/fragments/searches").text


def test_a_job_that_failed_is_told_until_the_search_goes_on_without_the_queue(serve: Any, home: Path) -> None:
    client = serve(home)
    with Workspace(home).open() as store:
        job = enqueue(store, "digits", None)
        take(store, job.id, 1)
        release(store, acquire(store, "digits"))
        end(store, job.id, "failed", SCRIPT)
        for path in (FRAGMENTS, f"{FRAGMENTS}/progress"):
            assert f"Its last job failed: {SCRIPT}" in page(client, path).text
        release(store, acquire(store, "digits"))
    for path in (FRAGMENTS, f"{FRAGMENTS}/progress"):
        assert "failed" not in page(client, path).text


def test_a_search_that_was_deleted_is_not_one_that_did_not_begin(serve: Any, tmp_path: Path) -> None:
    client = serve(tmp_path)
    with Workspace(tmp_path).open(create=True) as store:
        ends: dict[str, JobState] = {"whole": "done", "half": "stopped"}
        for name, state in ends.items():
            job = enqueue(store, name, {"trials": 1})
            take(store, job.id, 9)
            end(store, job.id, state, "as it was asked to")
    assert client.get("/fragments/searches/whole").status_code == 404
    assert "Its job was stopped: as it was asked to" in page(client, "/fragments/searches/half").text


def test_a_search_waits_whatever_number_of_others_is_newer(serve: Any, home: Path) -> None:
    client = serve(home, "run")
    with Workspace(home).open() as store:
        enqueue(store, "digits", None, trains=True)
        for number in range(100):
            enqueue(store, f"other-{number}", {"trials": 1})
    assert "/searches/digits" in page(client, "/fragments/searches").links[1:]
    assert "train" not in buttons(client, FRAGMENTS)
    assert "In the queue, to be trained at full length: waiting" in page(client, f"{FRAGMENTS}/progress").text
    assert "waits in the queue" in page(client, "/fragments/searches/other-0").text


@pytest.mark.parametrize("part", ["failures", "trials/1", "facts"])
def test_what_is_written_in_the_database_is_never_markup(serve: Any, home: Path, part: str) -> None:
    with sqlite3.connect(home / "autokd.db") as connection:
        connection.execute("UPDATE trials SET state = 'failed', value = NULL, reason = ? WHERE number = 1", [SCRIPT])
    shown = page(serve(home), f"{FRAGMENTS}/{part}")
    assert "script" not in shown.tags
    assert SCRIPT in shown.text


def test_the_form_is_filled_in_as_a_recipe_says(clients: Any) -> None:
    html = clients("run").get("/fragments/new?recipe=fashion-mnist").text
    assert re.findall(r"<option selected>([^<]*)", html) == ["fashion-mnist"]
    filled = dict(re.findall(r'data-key="budget\.([a-z_.]+)" value="([^"]+)"', html))
    assert filled == {"macs": "6500000", "of_teacher.params": "0.1", "of_teacher.activation_bytes": "0.3333333"}
    assert clients("read").get("/fragments/new").status_code == 403
    assert clients("run").get("/fragments/new?recipe=../x").status_code == 422


@pytest.fixture
def offers(clients: Any) -> Callable[..., Any]:
    """What the service offers for settings of the recipe `digits`."""

    def ask(**settings: Any) -> Any:
        order = json.dumps({"recipe": "digits", "settings": {"space.name": "nago"} | settings})
        return clients("run").get("/fragments/offers", params={"order": order})

    return ask


@pytest.mark.slow  # it asks the teacher
def test_the_budget_table_follows_the_budget_before_anything_is_trained(offers: Any) -> None:
    loose, tight = offers(**{"budget.params": 20_000}).text, offers(**{"budget.params": 5_000}).text
    assert (">20,000<" in loose, ">5,000<" in tight) == (True, True)
    assert "99.33 % validation accuracy, 77.8 k parameters" in loose
    assert "params &lt;= 1, but the smallest student has" in offers(**{"budget.params": 1}).text
    assert offers(**{"budget.params": 0}).status_code == 422
    assert offers(**{"teacher.factory": "os:getcwd"}).status_code == 422


def test_an_order_that_is_no_object_is_one_line(clients: Any) -> None:
    refused = clients("run").get("/fragments/offers", params={"order": "1"})
    assert refused.status_code == 422
    assert "order: must be a section with keys of its own, but got 1." in refused.text


def test_what_a_large_search_found_is_told_only_when_asked_for(
    reader: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f'data-from="{FRAGMENTS}/findings"' in reader.get(FRAGMENTS).text
    monkeypatch.setattr("autokd.service.pages.fragments.MOST_FOUND", 2)
    large = reader.get(FRAGMENTS).text
    assert f'data-from="{FRAGMENTS}/findings"' not in large
    assert f'data-turn="{FRAGMENTS}/findings"' in large
