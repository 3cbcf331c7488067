"""A server on a real port: watching, raw requests, and how it begins and ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import httpx2
import pytest
from fastapi import HTTPException

from autokd.database.errors import DatabaseGone
from autokd.database.lease import acquire, release
from autokd.database.rows import EventRow
from autokd.errors import InputError
from autokd.searches.workspace import Workspace
from autokd.service.server import allowed_hosts, allowed_origins, listen, server
from autokd.service.settings import Settings
from autokd.service.tokens import Tokens

WATCH = "/api/searches/digits/watch"
MORE_THAN_THREADS = 60  # which a server of Starlette has for its routes
Live = Callable[[Path], httpx2.Client]


@pytest.fixture
def live() -> Iterator[Live]:
    """Serves folders at free ports, and returns clients that may do all; they end with the test."""
    running: list[tuple[Any, threading.Thread, socket.socket]] = []

    def start(home: Path) -> httpx2.Client:
        settings, listening = Settings(Workspace(home)), listen("127.0.0.1", 0)
        serving = server(settings)
        thread = threading.Thread(target=serving.run, kwargs={"sockets": [listening]})
        thread.start()
        running.append((serving, thread, listening))
        headers = {"Authorization": f"Bearer {Tokens(settings.tokens_file).make('admin')}"}
        return httpx2.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", headers=headers, timeout=60)

    yield start
    for serving, thread, listening in running:
        serving.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture
def record(home: Path) -> Iterator[Callable[[int], EventRow]]:
    """Records events of a search that this process runs."""
    with Workspace(home).open() as store:
        lease = acquire(store, "digits")
        store.set_status(lease, "running")
        yield lambda number: store.record_event(lease, "test", {"number": number})
        release(store, lease)


def messages(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """Server-sent events, as a browser understands them."""
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(": ")
        if colon and name:
            fields[name] = value
        elif not line and fields:
            yield fields
            fields = {}


def numbers(response: httpx2.Response, n: int) -> list[tuple[int, int]]:
    """Id and number of the next `n` events of the kind `test`."""
    recorded = (each for each in messages(response.iter_lines()) if each["event"] == "recorded")
    rows = ((int(each["id"]), json.loads(each["data"])) for each in recorded)
    tests = ((place, row["payload"]["number"]) for place, row in rows if row["kind"] == "test")
    return [next(tests) for _ in range(n)]


@pytest.mark.slow  # looks at the search once a second
def test_a_client_that_reconnects_with_the_last_id_misses_nothing_and_hears_nothing_twice(
    live: Live, home: Path, record: Callable[[int], EventRow]
) -> None:
    client, ids = live(home), []
    with client.stream("GET", WATCH) as response:
        first = next(messages(response.iter_lines()))
        assert (first["event"], json.loads(first["data"])["status"]) == ("progress", "running")
        assert int(first["id"]) < record(-1).id
    seen = record(0).id
    ids += [record(number).id for number in (1, 2, 3)]
    with client.stream("GET", WATCH, headers={"Last-Event-ID": str(seen)}) as response:
        heard = numbers(response, 2)
    with client.stream("GET", f"{WATCH}?after=0", headers={"Last-Event-ID": str(heard[-1][0])}) as response:
        record(4)
        heard += numbers(response, 2)
    assert [number for _, number in heard] == [1, 2, 3, 4]
    assert [place for place, _ in heard[:3]] == ids


@pytest.mark.slow  # looks at the search once a second
def test_a_watcher_whose_token_is_forgotten_hears_no_more(
    live: Live, home: Path, record: Callable[[int], EventRow]
) -> None:
    with live(home) as client:
        with client.stream("GET", WATCH) as response:
            heard = messages(response.iter_lines())
            assert next(heard)["event"] == "progress"
            Tokens(Settings(Workspace(home)).tokens_file).forget()
            record(1)
            assert len(list(heard)) <= 1  # of a look that had begun; then the answer ends
        assert client.get(WATCH).status_code == 401


@pytest.mark.slow  # looks at the search once a second
def test_the_answer_of_a_watcher_ends_when_the_database_is_gone(
    live: Live, home: Path, record: Callable[[int], EventRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    with live(home) as client, client.stream("GET", WATCH) as response:
        heard = messages(response.iter_lines())
        assert next(heard)["event"] == "progress"
        monkeypatch.setattr("autokd.service.watching._since", mock.Mock(side_effect=DatabaseGone("It is gone.")))
        assert len(list(heard)) <= 1  # of a look that had begun


@pytest.mark.parametrize(
    ("method", "path", "heavy"),
    [
        ("POST", "/api/searches/digits/export", "autokd.service.artefacts._make_export"),
        ("GET", "/fragments/offers?order={}", "autokd.service.pages.form._offers"),
    ],
)
def test_who_waits_for_heavy_work_keeps_nobody_from_anything_else(
    live: Live, searched: Path, monkeypatch: pytest.MonkeyPatch, method: str, path: str, heavy: str
) -> None:
    begun, go_on, was_free = threading.Event(), threading.Event(), list[bool]()
    working = threading.Semaphore(1)

    def work(*_: object) -> str:
        was_free.append(working.acquire(blocking=False))
        begun.set()
        go_on.wait(60)
        working.release()
        raise HTTPException(418)

    monkeypatch.setattr(heavy, work)
    with live(searched) as client, ThreadPoolExecutor(MORE_THAN_THREADS) as others:
        order = partial(client.request, method, path, json={} if method == "POST" else None)
        orders = [others.submit(order) for _ in range(MORE_THAN_THREADS)]
        assert begun.wait(60)
        try:
            assert client.get("/api/searches", timeout=20).status_code == 200
            assert not any(each.done() for each in orders)
        finally:
            go_on.set()
        assert {each.result().status_code for each in orders} == {418}
    assert was_free == MORE_THAN_THREADS * [True]


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1",
        "GET /api/artefacts/../../tokens.json HTTP/1.1\r\nHost: 127.0.0.1",
        "GET http://evil.example/api/searches HTTP/1.1\r\nHost: evil.example",
        "GET /api/searches HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example",
        "GET /api/searches HTTP/1.1",
        "GET /api/searches HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4",
        "POST /api/searches/digits/stop HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2",
        "GET /api/searches HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + 20_000 * "x",
        "\x16\x03\x01 no HTTP",
    ],
    ids=lambda line: line[:40],
)
def test_a_request_that_no_browser_would_send_is_refused(live: Live, searched: Path, request_line: str) -> None:
    with live(searched) as client, socket.create_connection(("127.0.0.1", client.base_url.port or 0)) as connection:
        connection.settimeout(60)
        connection.sendall(request_line.encode("latin-1") + b"\r\n\r\n")
        assert connection.recv(4096).split(b" ")[1] in (b"400", b"401", b"404")


def test_an_address_that_is_taken_is_one_clear_line() -> None:
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(InputError, match=f"cannot listen at 127.0.0.1, port {port}: Address already in use"):
            listen("127.0.0.1", port)


def test_a_body_does_not_wait_until_its_headers_are_acknowledged() -> None:
    with listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_service_at_all_addresses_must_be_told_its_name() -> None:
    for everywhere in ("0.0.0.0", "0", "", "::"):
        with listen(everywhere, 0) as listening, pytest.raises(InputError, match="say by --allow-host NAME"):
            allowed_hosts(everywhere, listening, ())
    with listen("0.0.0.0", 0) as listening:
        assert allowed_hosts("0.0.0.0", listening, ("lab",)) == ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "lab")
        assert allowed_hosts("", listening, ("lab",)) == ("127.0.0.1", "localhost", "[::1]", "lab")
    with listen("localhost", 0) as listening:
        assert allowed_hosts("localhost", listening, ()) == ("127.0.0.1", "localhost", "[::1]", "localhost")


def test_its_own_origins_have_its_port() -> None:
    assert allowed_origins(("lab",), 8765, ("https://lab",)) == {"http://lab:8765", "https://lab"}
    assert allowed_origins(("lab",), 80, ()) == {"http://lab", "http://lab:80"}
    assert allowed_origins(("MyMac.local",), 1, ("https://LAB",)) == {"http://mymac.local:1", "https://lab"}


@pytest.mark.slow  # a process of its own
def test_a_server_lets_its_token_in_and_ends_by_ctrl_c(home: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "autokd", "serve", "--port", "0", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        url, token, page = (process.stdout.readline().split()[-1] for _ in range(3))
        assert page == f"{url}/#token={token}"
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx2.get(f"{url}/api/searches", headers=headers, timeout=60).status_code == 200
        process.send_signal(signal.SIGINT)
        assert (process.wait(), process.stdout.read()) == (0, "")
