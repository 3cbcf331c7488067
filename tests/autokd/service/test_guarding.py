"""The parts that every request passes, one at a time."""

import asyncio
import errno
import os
import sqlite3
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from autokd.database.reading import Reader
from autokd.database.rows import SearchRow
from autokd.searches.deletion import delete_search
from autokd.searches.progress import Progress, read_progress
from autokd.searches.reporter import SILENT
from autokd.searches.result import SearchResult
from autokd.searches.workspace import Workspace
from autokd.service.audit import Audit, audit_lines
from autokd.service.bodies import BodyLimits
from autokd.service.settings import Settings


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    message = await receive()
    await PlainTextResponse(message["body"])(scope, receive, send)


def test_a_body_arrives_as_it_was_sent_in_however_many_pieces() -> None:
    client = TestClient(BodyLimits(echo))
    assert client.post("/", content=iter([b"one ", b"two ", b"three"])).text == "one two three"


def test_a_body_that_comes_too_slowly_is_refused() -> None:
    async def never() -> Message:
        return await asyncio.Event().wait()  # type: ignore[return-value]

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "headers": []}
    asyncio.run(BodyLimits(echo, seconds=0.01)(scope, never, send))
    assert sent[0]["status"] == 408


def test_each_change_and_each_attempt_is_a_line_of_the_audit(serve: Any, home: Path) -> None:
    stranger, reader, admin = (serve(home, role) for role in (None, "read", "admin"))
    for client in (stranger, reader, admin):
        client.get("/api/searches")
        client.delete("/api/searches/digits", headers={"Authorization": client.headers.get("Authorization", "")})
    lines = admin.get("/api/audit").json()
    assert [(line["role"], line["method"], line["path"], line["status"]) for line in lines] == [
        (None, "DELETE", "/api/searches/digits", 401),
        ("read", "DELETE", "/api/searches/digits", 403),
        ("admin", "DELETE", "/api/searches/digits", 204),
    ]
    assert len(serve(home, "admin").get("/api/audit?most=1").json()) == 1


def test_a_line_that_a_full_disk_cut_short_hides_no_others(tmp_path: Path) -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("")(scope, receive, send)

    file = tmp_path / "audit.jsonl"
    file.write_text('{"path": "/1"}\n{"pa')
    client = TestClient(Audit(answer, file))
    for path in ("/2", "/3"):
        client.post(path)
    assert [line["path"] for line in audit_lines(file, 10)] == ["/1", "/2", "/3"]
    assert [line["path"] for line in audit_lines(file, 1)] == ["/3"]


def test_a_change_that_fails_unexpectedly_is_audited(tmp_path: Path) -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    file = tmp_path / "audit.jsonl"
    TestClient(Audit(fail, file), raise_server_exceptions=False).post("/somewhere%0a")
    (line,) = audit_lines(file, 10)
    assert (line["path"], line["status"]) == ("/somewhere\n", 500)
    assert file.read_text().count("\n") == 1


def test_a_search_that_is_deleted_is_gone_with_its_export(serve: Any, home: Path) -> None:
    client, folder = serve(home, "admin"), Workspace(home).exports / "digits"
    folder.mkdir(parents=True)
    assert client.delete("/api/searches/digits").status_code == 204
    assert (client.get("/api/searches").json(), folder.exists()) == ([], False)
    assert client.delete("/api/searches/digits").status_code == 404


def test_a_search_that_is_deleted_while_all_are_listed_is_left_out(
    serve: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = [SearchResult(Workspace(home), name, None, SILENT) for name in ("gone", "digits")]
    monkeypatch.setattr("autokd.service.reading.find_all", lambda home: listed)
    assert [row["name"] for row in serve(home).get("/api/searches").json()] == ["digits"]


def test_a_search_that_is_deleted_while_all_are_measured_is_left_out(
    serve: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite3.connect(home / "autokd.db") as connection:
        connection.execute("UPDATE searches SET status = 'running'")

    def look_and_delete(store: Reader, search: SearchRow) -> Progress:
        seen = read_progress(store, search)
        delete_search(Workspace(home), search.name)
        return seen

    monkeypatch.setattr("autokd.searches.progress.read_progress", look_and_delete)
    answer = serve(home).get("/metrics")
    assert (answer.status_code, "digits" in answer.text) == (200, False)


def test_tokens_that_cannot_be_read_let_nobody_in_and_are_said(serve: Any, home: Path) -> None:
    client = serve(home)
    Settings(Workspace(home)).tokens_file.write_text("damaged")
    answer = client.get("/api/searches")
    assert (answer.status_code, answer.headers["X-Content-Type-Options"]) == (503, "nosniff")
    assert "tokens cannot be read" in answer.json()["detail"]
    assert client.get("/health/live").status_code == 200


def test_an_error_that_nobody_foresaw_tells_nothing(serve: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autokd.service.reading.find_all", lambda home: 1 / 0)
    answer = serve(home).get("/api/searches")
    assert (answer.status_code, answer.headers["X-Content-Type-Options"]) == (500, "nosniff")
    assert "ZeroDivisionError" not in answer.text


def test_a_change_that_cannot_be_audited_is_done_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def change(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(status_code=204)(scope, receive, send)

    monkeypatch.setattr("os.write", mock.Mock(side_effect=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
    assert TestClient(Audit(change, tmp_path / "audit.jsonl")).post("/").status_code == 204
    monkeypatch.undo()
    assert capsys.readouterr().err.endswith("audit.jsonl cannot be written: No space left on device\n")
