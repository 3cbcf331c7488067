"""What tests of the service share: a small search that has ended, and clients with a token of each role."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, get_args

import pytest
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from autokd.recipes.catalogue import find_config
from autokd.searches.api import begin
from autokd.searches.reporter import SILENT
from autokd.searches.workspace import Workspace
from autokd.service.app import make_app
from autokd.service.registered import read_registered
from autokd.service.settings import Settings
from autokd.service.tokens import Role, Tokens

TINY = {
    **{"trials": 3, "training.rungs": [1, 2], "training.views": 1, "workers.engine": "inline", "workers.count": 1},
    **{"references.names": "none", "space.name": "nago", "training.precision": "float32"},
}
ORIGIN = "http://127.0.0.1:8765"


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the finished search `digits`; not to be changed, but for tokens."""
    home = tmp_path_factory.mktemp("searched")
    settings = [f"{key}={value}" for key, value in TINY.items()]
    begin(find_config("digits", settings), home, reporter=SILENT).resume()
    return home


@pytest.fixture
def order() -> dict[str, Any]:
    """The order of the same search by the name `first`."""
    return {"recipe": "digits", "name": "first", "settings": dict(TINY)}


@pytest.fixture
def home(searched: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed, without a token."""
    return Path(shutil.copytree(searched, tmp_path / "home", ignore=shutil.ignore_patterns("service")))


Serve = Callable[..., TestClient]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Makes clients of a service of a folder: `serve(home, "admin")`, with settings as options."""
    with ExitStack() as made:

        def make(home: Path, role: Role | None = "read", **options: Any) -> TestClient:
            settings = made.enter_context(settings_of(home, **options))
            return made.enter_context(closing(client(make_app(settings), settings, role)))

        yield make


@pytest.fixture
def reader(searched: Path, serve: Serve) -> TestClient:
    """A client that may read the finished search."""
    return serve(searched)


@pytest.fixture(scope="module")
def clients(searched: Path) -> Iterator[Callable[[Role | None], TestClient]]:
    """Clients of one service of the finished search, by role."""
    with ExitStack() as made:
        settings = made.enter_context(settings_of(searched))
        app, roles = make_app(settings), (None, *get_args(Role))
        by_role = {role: made.enter_context(closing(client(app, settings, role))) for role in roles}
        yield by_role.__getitem__


@contextmanager
def settings_of(home: Path, **options: Any) -> Iterator[Settings]:
    """A block with the settings of a service of a folder that is kept open."""
    with Workspace(home).kept_open() as workspace:
        yield Settings(workspace, origins=frozenset({ORIGIN}), **{"registered": read_registered(None)} | options)


def client(app: ASGIApp, settings: Settings, role: Role | None) -> TestClient:
    """A client with a token of a role, or with none."""
    client = TestClient(app, base_url=ORIGIN, raise_server_exceptions=False)
    if role is not None:
        client.headers["Authorization"] = f"Bearer {Tokens(settings.tokens_file).make(role)}"
    return client
