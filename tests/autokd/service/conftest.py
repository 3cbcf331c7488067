"""What tests of the service share: a small search that has ended, and clients with a token of each role."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from autokd.recipes.catalogue import find_config
from autokd.searches.api import begin
from autokd.searches.reporter import SILENT
from autokd.searches.workspace import Workspace
from autokd.service.app import make_app
from autokd.service.registered import read_registered
from autokd.service.settings import Settings
from autokd.service.tokens import Role, Tokens

TINY = (
    *("trials=3", "training.rungs=[1, 2]", "training.views=1", "workers.engine=inline", "workers.count=1"),
    *("references.names=none", "space.name=nago", "training.precision=float32"),
)
ORIGIN = "http://127.0.0.1:8765"


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the finished search `digits`; not to be changed, but for tokens."""
    home = tmp_path_factory.mktemp("searched")
    begin(find_config("digits", list(TINY)), home, reporter=SILENT).resume()
    return home


@pytest.fixture
def home(searched: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed, without a token."""
    return Path(shutil.copytree(searched, tmp_path / "home", ignore=shutil.ignore_patterns("service")))


Serve = Callable[..., TestClient]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Makes clients of a service of a folder: `serve(home, "admin")`, with settings as options."""
    made: list[TestClient] = []

    def make(home: Path, role: Role | None = "read", **options: object) -> TestClient:
        options = {"registered": read_registered(None)} | options
        settings = Settings(Workspace(home), origins=frozenset({ORIGIN}), **options)  # type: ignore[arg-type]
        client = TestClient(make_app(settings), base_url=ORIGIN, raise_server_exceptions=False)
        if role is not None:
            token = Tokens(settings.tokens_file).make(role)
            client.headers["Authorization"] = f"Bearer {token}"
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture
def reader(searched: Path, serve: Serve) -> TestClient:
    """A client that may read the finished search."""
    return serve(searched)


@pytest.fixture(scope="module")
def clients(searched: Path) -> Iterator[Callable[[Role | None], TestClient]]:
    """Clients of one service of the finished search, by role."""
    settings = Settings(Workspace(searched), origins=frozenset({ORIGIN}), registered=read_registered(None))
    app, tokens = make_app(settings), Tokens(settings.tokens_file)
    made: dict[Role | None, TestClient] = {}
    for role in (None, "read", "run", "admin"):
        made[role] = TestClient(app, base_url=ORIGIN, raise_server_exceptions=False)
        if role is not None:
            made[role].headers["Authorization"] = f"Bearer {tokens.make(role)}"
    yield made.__getitem__
    for client in made.values():
        client.close()
