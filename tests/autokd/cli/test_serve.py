import json
from pathlib import Path
from typing import Any

import pytest

from autokd.cli import serving
from autokd.searches.workspace import Workspace
from autokd.service.settings import Settings
from autokd.service.tokens import Tokens


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The services that were started; they end at once."""
    started: list[Settings] = []
    monkeypatch.setattr(serving, "run", lambda settings, listening: started.append(settings))
    return started


def test_a_service_shows_a_token_at_its_first_start_only(invoke: Any, tmp_path: Path, started: list[Settings]) -> None:
    first, second = (json.loads(invoke("serve", "--port", 0, "-o", "json", "--home", tmp_path).out) for _ in range(2))
    caller = Tokens(started[0].tokens_file).caller(first["token"])
    assert caller is not None
    assert (caller.role, second["token"]) == ("admin", None)
    another = f"another one: autokd serve --new-token admin --home {tmp_path}\n"
    assert invoke("serve", "--port", 0, "--home", tmp_path).out.endswith(another)


def test_a_service_may_be_called_by_its_own_names_alone(invoke: Any, tmp_path: Path, started: list[Settings]) -> None:
    out = invoke(
        "serve", "--port", 0, "--home", tmp_path, "--allow-host", "lab", "--quota", 5, "--read-only", "--at-once", 2
    ).out
    port = out.splitlines()[0].rpartition(":")[2]
    (settings,) = started
    assert settings.hosts == ("127.0.0.1", "localhost", "[::1]", "127.0.0.1", "lab")
    assert f"http://lab:{port}" in settings.origins
    assert (settings.read_only, settings.quota_bytes) == (True, 5)


def test_tokens_are_made_and_forgotten_without_a_service(invoke: Any, tmp_path: Path) -> None:
    tokens = Tokens(Settings(Workspace(tmp_path)).tokens_file)
    token = invoke("serve", "--new-token", "run", "--home", tmp_path).out.strip()
    assert tokens.caller(token).role == "run"
    assert json.loads(invoke("serve", "--forget-tokens", "-o", "json", "--home", tmp_path).out) == {"forgotten": 1}
    assert tokens.caller(token) is None


def test_an_address_that_cannot_be_listened_at_is_one_line(invoke: Any, tmp_path: Path) -> None:
    outcome = invoke("serve", "--host", "192.0.2.1", "--home", tmp_path)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("autokd: the service cannot listen at 192.0.2.1, port 8765: ")
