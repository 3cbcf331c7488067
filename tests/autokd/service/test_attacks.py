"""A table of attacks: each is refused with a status of 4xx in one line, and changes nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from autokd.searches.workspace import Workspace
from autokd.service.bodies import LARGEST_BYTES
from autokd.service.settings import Settings
from autokd.service.tokens import Role

READ, STOP, EXPORT = "/api/searches/digits/progress", "/api/searches/digits/stop", "/api/searches/digits/export"
SEARCH, RETRY, FILES = "/api/searches/digits", "/api/searches/digits/retry", "/api/artefacts"
LOGS, KEY = "/api/searches/digits/logs", f"{24 * '0'}-1"
PAGE = "http://evil.example"
SCRIPT = "%3Cscript%3Ealert(1)"


def attack(status: int, method: str, path: str, role: Role | None = "admin", name: str = "", **request: Any) -> Any:
    """A row of the table: what must come back, and what is sent by whom."""
    words = (method, path, role or "nobody", *([name] if name else map(str, request.values())))
    return pytest.param(status, method, path, role, request, id=" ".join(words)[:70])


SMUGGLED = {
    "data.source": "os:getcwd",
    "data.folder": "/etc",
    "data.name": "hf:user/name",
    "teacher.factory": "os:getcwd",
    "teacher.weights": "/etc/passwd",
    "teacher.onnx": "x.onnx",
    "teacher.preprocess": "os:system",
    "space.name": "evil:Space",
    "distillation.method": "kd+evil:Method",
    "optimizer.name": "evil:Sampler",
    "optimizer.learn_from": ["/tmp/x.json"],
    "workers.address": "tcp://10.0.0.1:8786",
    "workers.engine": "ray",
    "trials.x": 1,
    "": 1,
}
"""Settings that lead to code, files or machines, or to nothing."""

ATTACKS = [
    # no token, or none that is valid
    *(attack(401, "GET", path, None) for path in ("/api/searches", READ, "/metrics", "/openapi.json", "/api/audit")),
    *(
        attack(401, "GET", f"/fragments/{path}", None)
        for path in ("", "searches", "searches/digits", "searches/digits/findings", "new", "offers?order={}")
    ),
    *(attack(401, "GET", path, None) for path in ("/searches", "/searches/a/b", "/searches/a/trials/1/x", "/static")),
    *(attack(401, method, SEARCH, None) for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE")),
    *(
        attack(401, "GET", READ, None, headers={"Authorization": value})
        for value in (
            "",
            "Bearer",
            "Bearer ",
            "Bearer guess",
            "Basic YTpi",
            "Bearer null",
            "Token x",
            "Bearer " + 9_000 * "x",
        )
    ),
    attack(401, "GET", READ, None, headers=[("Authorization", "Bearer a"), ("Authorization", "Bearer b")]),
    attack(401, "GET", READ + "?token=guess", None),
    attack(401, "GET", READ, None, headers={"Cookie": "token=guess"}),
    attack(401, "POST", STOP, None, content=b"{"),
    # what is nested too deep
    *(
        attack(
            422, "POST", "/api/searches", json=order | {"settings": {**two, **deep, "space.name": "nago"}}, name=name
        )
        for two in [{"space.names": ["nago", "cells"]}]
        for name, order, deep in (
            ("key", {"recipe": "digits"}, {f"space.ranges{3000 * '.a'}": 1}),
            ("text", {"toml": f"[space.ranges]\n{'a' + 3000 * '.a'} = 1"}, {}),
        )
    ),
    # a token of too low a role
    *(attack(403, "POST", path, "read", json={}) for path in (STOP, RETRY, EXPORT)),
    *(attack(403, "DELETE", SEARCH, role) for role in ("read", "run")),
    *(attack(403, "GET", "/api/audit", role) for role in ("read", "run")),
    *(attack(403, "GET", f"/fragments/{path}", "read") for path in ("new", "offers?order={}")),
    # a foreign Host, as after a name was made to point here
    *(
        attack(400, method, path, headers={"Host": host})
        for method, path, host in [
            ("GET", READ, "evil.example"),
            ("GET", "/health/live", "evil.example"),
            ("POST", STOP, "evil.example:8765"),
            ("DELETE", SEARCH, "127.0.0.1.evil.example"),
            ("GET", READ, "127.0.0.1@evil.example"),
            ("OPTIONS", STOP, "localhost.evil.example"),
            ("GET", READ, ""),
            ("GET", READ, "0.0.0.0:8765"),
        ]
    ),
    # a script of another site
    *(
        attack(403, method, path, headers={"Origin": origin})
        for method, path, origin in [
            ("GET", READ, PAGE),
            ("GET", "/health/live", PAGE),
            ("POST", STOP, "null"),
            ("DELETE", SEARCH, "http://127.0.0.1:9999"),
            ("OPTIONS", STOP, "https://127.0.0.1:8765"),
            ("GET", READ, "http://127.0.0.1:8765.evil.example"),
            ("GET", "/api/searches/digits/watch", PAGE),
        ]
    ),
    attack(403, "POST", STOP, headers=[("Origin", "http://127.0.0.1:8765"), ("Origin", PAGE)]),
    # paths that lead elsewhere
    *(
        attack(404, "GET", path)
        for path in (
            f"{FILES}/..%2f..%2fautokd.db",
            f"{FILES}/%2e%2e/%2e%2e/etc/passwd",
            "/api/searches/..%2f..%2fetc%2fpasswd",
            "/api/searches/digits/export/manifest.json",
            "/service/tokens.json",
            "/autokd.db",
            "//etc/passwd",
            f"{FILES}/{64 * '0'}",
            "/docs",
            "/static/..%2fguard.py",
            "/static/%2e%2e/guard.py",
            "/static/shell.html",
        )
    ),
    *(
        attack(422, "GET", f"{FILES}/{name}")
        for name in ("tokens.json", 64 * "g", 63 * "0", 64 * "A", "%00", 65 * "0", SCRIPT, 64 * "0" + "%0a")
    ),
    *(attack(401, "GET", path, None) for path in (f"{LOGS}/{KEY}", "/api/queue/1/log")),
    *(
        attack(404, "GET", path)
        for path in (
            f"{LOGS}/{KEY}",
            f"{LOGS}/..%2f..%2f..%2fautokd.db",
            f"{LOGS}/%2e%2e/%2e%2e/etc/passwd",
            f"{LOGS}/{KEY}%2f..%2flog-0.txt",
            f"/api/searches/none/logs/{KEY}",
            "/api/queue/1/log",
            "/api/queue/..%2f1/log",
            "/logs/job-1.log",
        )
    ),
    *(
        attack(422, "GET", f"{LOGS}/{key}")
        for key in ("..%5c", f"{KEY}%00", f"{KEY}%0a", KEY.replace("0", "g"), KEY + "-x", KEY + 9 * "0", SCRIPT)
    ),
    *(attack(422, "GET", f"/api/queue/{job}/log") for job in ("0", "-1", "1e3", "%2e%2e", 40 * "9", SCRIPT)),
    attack(405, "DELETE", f"{LOGS}/{KEY}"),
    # names that are none
    *(
        attack(422, "GET", f"/api/searches/{name}/progress")
        for name in (
            SCRIPT,
            "a%00b",
            "%0d%0aSet-Cookie:%20a=b",
            ".hidden",
            256 * "a",
            "digits'%20OR%201=1--",
            "%F0%9F%92%A9",
        )
    ),
    *(
        attack(422, "GET", f"/api/searches/digits/trials/{trial}")
        for trial in ("-1%20OR%201", "..%5c", 40 * "9", SCRIPT)
    ),
    attack(404, "GET", "/api/searches/digits/trials/99999999"),
    *(attack(422, "GET", f"/fragments/searches/{name}") for name in (SCRIPT, "a%00b", ".hidden")),
    attack(422, "GET", f"/fragments/searches/digits/trials/{SCRIPT}"),
    # values that make no sense, or too much work
    *(
        attack(422, "GET", f"/api/searches/digits/{query}")
        for query in (
            *("families?top=0", "families?top=1000000", "students?offset=-1", "events?after=-1", "events?most=1e9"),
            *("pareto?against=accuracy", "watch?after=x", "students?most=9999999999999999999999"),
        )
    ),
    attack(422, "GET", "/api/searches/digits/watch", headers={"Last-Event-ID": "1; DROP TABLE events"}),
    # bodies
    attack(413, "POST", STOP, content=(LARGEST_BYTES + 1) * b" ", name="large"),
    attack(413, "GET", READ, content=(LARGEST_BYTES + 1) * b" ", name="large"),
    attack(413, "POST", STOP, content=iter([LARGEST_BYTES * b" ", b"xx"]), name="large, in pieces"),
    attack(413, "POST", STOP, headers={"Content-Length": "9" * 30}, name="said to be large"),
    attack(413, "POST", STOP, headers={"Content-Length": "-1"}),
    *(
        attack(422, "POST", STOP, content=body)
        for body in (b"", b"{", b"null", b"[]", 9_000 * b"[", b'{"now": 2}', b'{"now": true, "more": 1}', b"\xff\xfe")
    ),
    attack(422, "POST", STOP, content=b"now=true", headers={"Content-Type": "application/x-www-form-urlencoded"}),
    *(
        attack(422, "GET", f"/fragments/{query}")
        for query in ("new?recipe=../digits", "offers?order=[", "offers?order={}", "searches/digits/trials?end=0")
    ),
    *(attack(405, method, path, None) for method in ("POST", "DELETE") for path in ("/", "/static/page.js")),
    attack(422, "POST", EXPORT, json={"folder": "/etc"}),
    attack(422, "POST", EXPORT, json={"within": {"params": 0}}),
    attack(422, "POST", EXPORT, json={"within": {"__class__": 1}}),
    # searches that are more than names and numbers
    *(
        attack(422, "POST", "/api/searches", json=order)
        for order in (
            *({}, {"recipe": "digits", "toml": ""}, {"recipe": "../digits"}, {"recipe": "digits", "config": {}}),
            *({"recipe": "digits", "settings": {key: value}} for key, value in SMUGGLED.items()),
            *({"recipe": "digits", "name": name} for name in ("../x", "<script>", 101 * "a", "", "a/b")),
            *({"toml": text} for text in ("[", "x = " + 9_000 * "[", "trials = 3", '[data]\nsource = "os:getcwd"')),
            *({"recipe": "digits", "priority": priority} for priority in (1000, "high")),
        )
    ),
    attack(403, "POST", "/api/searches", "read", json={"recipe": "digits"}),
    *(attack(403, "POST", f"/api/searches/digits/{verb}", "read", json={}) for verb in ("resume", "train")),
    attack(422, "POST", "/api/searches/digits/train", json={"trial": 1}),
    attack(403, "DELETE", "/api/queue/1", "read"),
    attack(404, "DELETE", "/api/queue/1"),
    attack(422, "DELETE", "/api/queue/-1"),
    attack(422, "GET", "/api/queue?state=unknown"),
    attack(409, "POST", "/api/searches", json={"recipe": "digits", "name": "digits"}),
    # what cannot be done, or not again
    *(attack(405, method, READ) for method in ("POST", "PUT", "DELETE", "PATCH")),
    attack(405, "POST", "/api/searches/digits/watch"),
    attack(405, "OPTIONS", STOP),
    attack(409, "POST", STOP, json={}),
    attack(409, "POST", EXPORT, json={"within": {"params": 1}}),
]


def traces(home: Path) -> object:
    """All that an attack might change: rows, and files but those in which the service records who called."""
    with Workspace(home).open() as store:
        rows = store.searches(), store.trials(1), store.last_events(1, 1)
    own = {Settings(Workspace(home)).audit_file, Settings(Workspace(home)).tokens_file}
    files = {path: path.stat().st_size for path in home.rglob("*") if path.is_file() and path not in own}
    return rows, {path: size for path, size in files.items() if path.parent != home}


def test_the_table_is_long() -> None:
    assert len(ATTACKS) >= 100


@pytest.mark.parametrize(("status", "method", "path", "role", "request_"), ATTACKS)
def test_an_attack_is_refused_and_changes_nothing(
    clients: Callable[[Role | None], TestClient],
    searched: Path,
    status: int,
    method: str,
    path: str,
    role: Role | None,
    request_: dict[str, Any],
) -> None:
    before = traces(searched)
    answer = clients(role).request(method, path, **request_)
    assert answer.status_code == status, answer.text
    assert answer.text.count("\n") == 0
    assert method == "HEAD" or answer.json().keys() == {"detail"}
    assert "<script>" not in answer.text
    assert (answer.headers["X-Content-Type-Options"], "Set-Cookie" in answer.headers) == ("nosniff", False)
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert traces(searched) == before


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", [STOP, RETRY, EXPORT, SEARCH])
def test_a_service_that_only_reads_refuses_every_change(serve: Any, searched: Path, method: str, path: str) -> None:
    client = serve(searched, "admin", read_only=True)
    answer = client.request(method, path, json={})
    assert (answer.status_code, answer.json()) == (403, {"detail": "this service only reads"})
    assert client.get(READ).status_code == 200
