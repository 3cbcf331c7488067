"""A real service in a process of its own, used from Python as from another machine."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pages import block

from autokd.client import Client, ServiceError, types
from autokd.client.generated.calls import Calls
from autokd.database.lease import acquire, release
from autokd.database.queue import jobs
from autokd.errors import InputError
from autokd.evaluation.task import log_file
from autokd.export.verification import verify_folder
from autokd.searches.api import find
from autokd.searches.workspace import Workspace
from autokd.service.settings import Settings

TINY = {
    **{"trials": 2, "data.subset": 300, "references.names": "none", "space.name": "nago"},
    **{"training.rungs": [1], "training.views": 1, "training.precision": "float32"},
    **{"workers.engine": "inline", "workers.count": 1},
}
NOTHING = {
    *(
        "cancel_job",
        "create_search",
        "delete",
        "list_audit",
        "make_export",
        "resume",
        "retry",
        "show_trial",
        "stop",
        "train",
    ),
    *("show_job_log", "show_log"),
}
"""Calls that change something, or need more than the name of a search."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of searches; what still runs in it ends with the tests."""
    home = tmp_path_factory.mktemp("home")
    yield home
    with Workspace(home).open(create=True) as store:
        for job in jobs(store, 9, "running"):
            os.kill(job.lease_pid or 0, signal.SIGKILL)


@pytest.fixture(scope="module")
def start(home: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], dict[str, Any]]]]:
    """Starts the service of the folder, and returns its process and what it printed."""
    with ExitStack() as running:

        def start(port: str = "0") -> tuple[subprocess.Popen[str], dict[str, Any]]:
            command = [sys.executable, "-m", "autokd", "serve", "--port", port, "--home", str(home), "-o", "json"]
            process = running.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            running.callback(process.terminate)
            assert process.stdout is not None
            printed = ""
            while not printed.endswith("}\n"):
                printed += process.stdout.readline()
            return process, json.loads(printed)

        yield start


@pytest.fixture(scope="module")
def service(start: Any) -> Any:
    return start()


@pytest.fixture(scope="module")
def client(service: Any) -> Iterator[Client]:
    with Client(service[1]["url"], service[1]["token"]) as client:
        yield client


@pytest.fixture(scope="module")
def searched(service: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the program of the page leaves: the search `first` in the service, and its student in a folder."""
    folder = tmp_path_factory.mktemp("fetched")
    program = block("python", "autokd.client").replace("http://127.0.0.1:8765", service[1]["url"])
    program = program.replace('{"trials": 20}', repr(TINY)).replace('"student"', repr(str(folder / "student")))
    exec(program, {"token": service[1]["token"]})
    return folder / "student"


@pytest.mark.slow  # a service, a process that searches, and an export
def test_a_search_is_begun_watched_to_its_end_and_fetched(client: Client, searched: Path) -> None:
    assert client.show_progress("first").complete == TINY["trials"]
    files = client.list_export("first").files
    assert {file.name for file in files} == {file.name for file in searched.iterdir()}
    assert verify_folder(searched).max_difference < 1e-4
    with pytest.raises(InputError, match="is not empty"):
        client.download("first", searched)


@pytest.mark.slow  # the service that the tests here share
@pytest.mark.parametrize(
    "name", sorted(name for name in vars(Calls) if not name.startswith("_") and name not in NOTHING)
)
def test_every_answer_is_of_its_type(client: Client, searched: Path, name: str) -> None:
    """Parsing fails otherwise."""
    call = getattr(client, name)
    call("first") if "search" in call.__annotations__ else call()


@pytest.mark.slow  # the service that the tests here share
def test_logs_are_fetched_whole(client: Client, searched: Path, home: Path) -> None:
    (job,) = client.list_queue()
    assert client.show_job_log(job.id) == Settings(Workspace(home)).job_log(job.id).read_text()
    key = client.show_trial("first", "0").evaluations[0].key
    log_file(find("first", home).problem.evaluations, key).write_text("line\n\N{SNOWMAN}\n")
    assert client.show_log("first", key) == "line\n\N{SNOWMAN}\n"
    with pytest.raises(ServiceError, match="no such log") as gone:
        client.show_log("first", key.replace(key[:24], 24 * "0"))
    assert gone.value.status == 404


@pytest.mark.slow  # a service that ends and begins anew
def test_a_watcher_of_a_service_that_is_started_again_misses_nothing(
    client: Client, searched: Path, service: Any, start: Any, home: Path
) -> None:
    before = client.list_events("first", most=1000)
    events = (news for news in client.watch("first", after=0) if isinstance(news, types.EventRow))
    assert list(islice(events, len(before))) == before
    service[0].terminate()
    service[0].wait()
    with Workspace(home).open() as store:
        lease = acquire(store, "first")
        release(store, lease)
    start(service[1]["url"].rpartition(":")[2])
    since = client.list_events("first", after=before[-1].id)
    assert list(islice(events, len(since))) == since != []


@pytest.mark.slow  # the service that the tests here share
def test_what_is_refused_is_one_line_with_its_status(client: Client) -> None:
    with pytest.raises(ServiceError, match="search 'nowhere'") as refused:
        next(client.watch("nowhere"))
    assert refused.value.status == 404
    with pytest.raises(ServiceError, match="trials"):
        client.create_search(types.SearchOrder(recipe="digits", settings={"trials": -1}))


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[httpx2.Request], httpx2.Response]], Client]:
    """Makes clients of a service that a function is, which do not wait between two requests."""
    monkeypatch.setattr("autokd.client.client.PAUSE_SECONDS", 0)

    def make(answer: Callable[[httpx2.Request], httpx2.Response]) -> Client:
        client, transport = Client("http://service", "token"), httpx2.MockTransport(answer)
        monkeypatch.setattr(client, "_http", httpx2.Client(base_url="http://service", transport=transport))
        return client

    return make


@pytest.mark.parametrize("hindered", [False, True])
def test_a_watcher_of_a_queued_search_sees_it_from_its_beginning(asking: Any, hindered: bool) -> None:
    asked = []
    hindrances: list[httpx2.Response | Exception] = []
    if hindered:
        hindrances = [httpx2.Response(503, json={"detail": "later"}), httpx2.ConnectError("refused")]
    job = types.JobAnswer(
        id=1, search="x", trains=False, priority=0, state="waiting", reason=None, starts=0,
        created_at=datetime(2026, 1, 1, tzinfo=UTC), lease_host=None, lease_pid=None, has_log=False,
    )  # fmt: skip

    def answer(request: httpx2.Request) -> httpx2.Response:
        if not request.url.path.endswith("/watch"):
            if not hindrances:
                return httpx2.Response(200, json=[job.model_dump(mode="json")])
            if isinstance(hindrance := hindrances.pop(), Exception):
                raise hindrance
            return hindrance
        asked.append(request.url.params.get("after"))
        statuses = {1: 404, 2: 200}
        return httpx2.Response(statuses.get(len(asked), 403), json={"detail": "no more"})

    with pytest.raises(ServiceError, match="no more"):
        list(asking(answer).watch("x"))
    assert asked == [None, "0", "0"]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"html": "<html>log in</html>"}, "not of the form"),
        ({"json": [{"name": "x"}]}, "not of the form"),
        ({"headers": {"Content-Encoding": "gzip"}, "content": iter([b"xxxx"])}, "sent what cannot be read"),
    ],
)
def test_what_is_no_answer_of_the_service_is_one_line(asking: Any, options: dict[str, Any], line: str) -> None:
    with pytest.raises(ServiceError, match=line) as error:
        asking(lambda request: httpx2.Response(200, **options)).list_searches()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("data", ["{", "{}"])
def test_news_that_cannot_be_read_are_one_line(asking: Any, data: str) -> None:
    content = f"id: 5\r\nevent: recorded\r\ndata: {data}\r\n\r\n"
    with pytest.raises(ServiceError, match="response to watch is not of the form"):
        next(asking(lambda request: httpx2.Response(200, content=content)).watch("x"))


def test_news_may_have_the_line_separators_that_json_may(asking: Any) -> None:
    event = types.EventRow(id=5, search_id=1, kind="test", payload={"x": "a\u2028b\x85c"}, at=datetime.now(UTC))
    content = f"id: 5\r\nevent: recorded\r\ndata: {event.model_dump_json()}\r\n\r\n"
    assert next(asking(lambda request: httpx2.Response(200, content=content)).watch("x")) == event


def test_nothing_is_downloaded_in_place_of_a_file(asking: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        asking(lambda request: httpx2.Response(404, json={"detail": "asked"})).download("x", tmp_path / "file")


def test_a_service_that_is_not_there_is_one_line() -> None:
    with Client("http://127.0.0.1:9", "token") as client:
        with pytest.raises(ServiceError, match="does not answer") as error:
            client.list_searches()
        assert error.value.status is None
        with pytest.raises(ServiceError, match="does not answer"):
            next(client.watch("digits"))


@pytest.mark.parametrize(
    ("url", "token"),
    [
        *((url, "token") for url in ("http://127.0.0.1:port", "127.0.0.1:9", "localhost:9", "", "http://", "ftp://x")),
        *(("http://127.0.0.1:9", token) for token in ("Schlüssel", "key\nkey", "key\0")),
    ],
)
def test_what_is_no_address_or_no_token_is_one_line(url: str, token: str) -> None:
    with pytest.raises(InputError, match="no service can be called at") as error:
        Client(url, token)
    assert ("key" in str(error.value), "Schl" in str(error.value)) == (False, False)


def test_a_token_may_come_with_the_newline_of_its_file() -> None:
    with Client("http://127.0.0.1:9", "key\n") as client:
        assert client._http.headers["Authorization"] == "Bearer key"


def test_the_client_loads_no_torch() -> None:
    program = "import sys, autokd.client; assert not {'torch', 'optuna', 'sqlalchemy'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", program], check=True)
