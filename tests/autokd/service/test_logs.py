"""Logs are sent whole, as text to be saved, and are beside their ends on the page."""

import re
from pathlib import Path
from typing import Any

import pytest

from autokd.database.queue import end, enqueue, take
from autokd.evaluation.task import log_file
from autokd.searches.api import find
from autokd.searches.workspace import Workspace
from autokd.service.settings import Settings

TEXT = "".join(f"line {number} of many, <script> \N{SNOWMAN}\n" for number in range(20_000))


@pytest.fixture
def log(home: Path) -> Path:
    """The log of the first evaluation of trial 1."""
    problem = find("digits", home).problem
    file = log_file(problem.evaluations, find("digits", home).trial(1).evaluations[0].key)
    file.write_text(TEXT)
    return file


def saving(html: str) -> list[str]:
    """What the buttons of a fragment save."""
    return re.findall(r'data-save="([^"]+)"', html)


def check_text(answer: Any, name: str) -> None:
    assert answer.content == TEXT.encode()
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'


def test_the_log_of_an_evaluation_is_sent_whole_until_it_is_gone(serve: Any, home: Path, log: Path) -> None:
    client = serve(home)
    told = client.get("/api/searches/digits/trials/1").json()["evaluations"][0]
    assert told["log_tail"] == TEXT.splitlines()[-12:]
    path = f"/api/searches/digits/logs/{told['key']}"
    check_text(client.get(path), f"digits-{told['key']}.txt")
    log.unlink()
    answer = client.get(path)
    assert (answer.status_code, answer.json()) == (404, {"detail": "there is no such log, or it is gone"})
    log.symlink_to(home / "autokd.db")
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("part", ["trials/1", "failures"])
def test_beside_the_end_of_a_log_the_page_has_all_of_it(serve: Any, home: Path, log: Path, part: str) -> None:
    with Workspace(home).open() as store, store.session() as session:
        session.connection().exec_driver_sql("UPDATE trials SET state = 'failed', reason = 'x' WHERE number = 1")
        session.connection().exec_driver_sql("UPDATE evaluations SET state = 'failed' WHERE trial_id = 2")
        session.commit()
    client = serve(home)
    html = client.get(f"/fragments/searches/digits/{part}").text
    assert TEXT.splitlines()[-1].replace("<", "&lt;").replace(">", "&gt;") in html
    assert client.get(saving(html)[0]).content == TEXT.encode()


def test_the_log_of_a_job_is_sent_whole_where_there_is_one(serve: Any, home: Path) -> None:
    client = serve(home)
    with Workspace(home).open() as store:
        for name in ("digits", "first"):
            job = enqueue(store, name, None if name == "digits" else {"trials": 1})
            take(store, job.id, 9)
            end(store, job.id, "failed", "no teacher")
    waiting = "/fragments/searches/first"
    assert saving(client.get(waiting).text) == []
    for number, path in ((1, "/fragments/searches/digits/workers"), (2, waiting)):
        file = Settings(Workspace(home)).job_log(number)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(TEXT)
        (saved,) = saving(client.get(path).text)
        check_text(client.get(saved), f"job-{number}.txt")
    assert [job["has_log"] for job in client.get("/api/queue").json()] == [True, True]
