"""The walks through `docs/howto/many-machines.md`, all on this machine, and a worker is killed on the way.

The commands of the containers are run, too, since few machines that test have a daemon to build and run these.
"""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml
from clusters import running_cluster
from object_store import Bucket
from pages import PAGES, ROOT, block

from autokd.core.cache_folder import cache_folder
from autokd.database.errors import DatabaseUnavailable
from autokd.searches.api import find, find_all
from autokd.searches.workspace import Workspace
from autokd.testing.executors import wait_until

PAGE = PAGES["howto/many-machines.md"]
SHORT = ("trials=2", "training.rungs=[1, 6]", "training.views=1", "space.name=nago", "references.names=none")
Process = subprocess.Popen[str]
Start = Callable[..., Process]
BLIND = """
import os, sys

def refuse(event, given):
    if event in ("open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove"):
        if str(given[0]).startswith(os.environ["UNSEEN"]):
            raise PermissionError(f"{event} {given[0]}: a machine of its own has no such folder")

if os.environ.get("UNSEEN"):
    sys.addaudithook(refuse)
"""  # what a worker's Python does first, and each that it starts


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a command of the page; it and what it starts do not outlive the test, however that ends."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, sys.path)]))
    started: list[Process] = []

    def start(line: str, **variables: str) -> Process:
        program, *words = shlex.split(line)
        with (tmp_path / f"{len(started)}.log").open("w") as log:
            command = [str(Path(sys.executable).parent / program), *words]
            environment = os.environ | variables
            started.append(subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, text=True, env=environment))
        return started[-1]

    yield start
    for process in reversed(started):
        if process.poll() is None:
            kill(process)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """The folder and the database of PostgreSQL that the machines share, named as the page names them."""
    with running_cluster() as database:
        home = Workspace(tmp_path / "home", database.emptied())
        for name, value in {"AUTOKD_HOME": str(home.folder), "AUTOKD_DATABASE": str(home.url)}.items():
            assert f"export {name}=" in block("sh", "AUTOKD_HOME", PAGE)
            monkeypatch.setenv(name, value)
        yield home


def of_the_page(*words: str) -> list[str]:
    """The commands of the page's blocks that have these words; the last one searches."""
    lines = "".join(block("sh", each, PAGE) for each in words).splitlines()
    return [line for line in lines if not line.startswith("export")]


def of_the_containers() -> list[str]:
    """The commands of the services that need AutoKD."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    return [services[name]["command"] for name in ("scheduler", "worker", "search")]


def on_this_machine(commands: list[str], port: str) -> list[str]:
    """The commands with another port, a shorter search, and this machine in place of all others."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        other = str(free.getsockname()[1])
    short = " ".join(f"--set {shlex.quote(setting)}" for setting in SHORT)
    here = re.sub(r"10\.0\.0\.1|(?<=//)scheduler", "127.0.0.1", "\n".join([*commands[:-1], f"{commands[-1]} {short}"]))
    return here.replace(port, other).splitlines()


def kill(process: Process) -> None:
    """SIGKILL to a process and all that descend from it, as if the power of its machine failed."""
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for each in family:
        each.kill()
    process.wait()


def check_search_ends_well(searching: Process, home: Workspace, killed: Process) -> None:
    """Kill a machine once both of them train, and see the search end as if nothing had happened."""
    wait_until(lambda: searching.poll() is not None or are_both_busy(home), 240)
    kill(killed)
    assert searching.wait(240) == 0, "\n".join(log.read_text() for log in home.folder.parent.glob("*.log"))
    progress = find("digits", home).progress
    assert (progress.status, progress.finished, progress.failed) == ("finished", 2, 0)


def are_both_busy(home: Workspace) -> bool:
    """Whether two workers have a training each."""
    with suppress(DatabaseUnavailable):  # SQLite's file is there before its tables
        return len({each.worker for search in find_all(home) for each in search.progress.evaluations} - {None}) == 2
    return False


@pytest.mark.slow  # a database, a scheduler, two workers and a search, all of which load a lot
@pytest.mark.parametrize(
    "commands",
    [of_the_page("dask worker", "8786 --set workers.count=8"), of_the_containers()],
    ids=["page", "containers"],
)
def test_a_search_on_dask_ends_well_though_a_worker_is_killed(
    commands: list[str], start: Start, home: Workspace
) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed: pip install 'autokd[dask]'")
    scheduler, worker, search = on_this_machine(commands, "8786")
    start(scheduler)
    machines = [start(worker.replace("--nworkers 4", "--nworkers 1")) for _ in range(2)]
    check_search_ends_well(start(search), home, killed=machines[0])


@pytest.mark.slow  # a scheduler, two workers and a search, all of which load a lot
def test_a_search_ends_well_on_machines_that_do_not_see_its_folder_though_one_is_killed(
    start: Start, bucket: Bucket, tmp_path: Path
) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed: pip install 'autokd[dask]'")
    assert set(re.findall(r"AWS_\w+", block("sh", "AWS_ACCESS_KEY_ID", PAGE))) == set(bucket.variables)
    scheduler, worker, search = on_this_machine(of_the_page("dask worker", "workers.files"), "8786")
    home = Workspace(tmp_path / "home")
    start(scheduler)
    machines = []
    for name in ("first", "second"):
        cache = tmp_path / name / "autokd"
        cache.mkdir(parents=True)
        for library in cache_folder("").glob("kernels-*.so"):  # to compile it takes long
            shutil.copy(library, cache)
        (tmp_path / name / "sitecustomize.py").write_text(BLIND)
        path = os.pathsep.join([str(tmp_path / name), os.environ["PYTHONPATH"]])
        variables = {"XDG_CACHE_HOME": str(tmp_path / name), "PYTHONPATH": path, "UNSEEN": str(home.folder)}
        machines.append(start(worker.replace("--nworkers 4", "--nworkers 1"), **variables))
    searching = start(search.replace("s3://bucket/autokd", bucket.url), AUTOKD_HOME=str(home.folder))
    check_search_ends_well(searching, home, killed=machines[0])
    assert any((tmp_path / name / "autokd" / "files").is_dir() for name in ("first", "second"))
    here = sorted(str(file.relative_to(home.folder)) for file in home.folder.rglob("*") if file.is_file())
    assert bucket.names == [name for name in here if "autokd.db" not in name]


@pytest.mark.slow  # a database, two nodes of Ray and a search, all of which load a lot
def test_a_search_on_ray_ends_well_though_a_node_is_killed(
    start: Start, home: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'autokd[ray]'")
    monkeypatch.setenv("HOME", str(tmp_path))  # where Ray keeps the token
    assert start("ray get-auth-token --generate").wait(60) == 0
    assert "export RAY_AUTH_MODE=token" in block("sh", "ray start", PAGE)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    head, node, search = on_this_machine(of_the_page("ray start"), "6379")
    address = search.partition("workers.address=")[2].split()[0]
    start(f"{head} --block --num-cpus 1 --include-dashboard=false")
    wait_until(lambda: has_nodes(address, 1), 60)
    machine = start(f"{node} --block --num-cpus 1")
    wait_until(lambda: has_nodes(address, 2), 60)
    check_search_ends_well(start(search), home, killed=machine)


def has_nodes(address: str, count: int) -> bool:
    """Whether so many nodes of Ray answer."""
    ray = str(Path(sys.executable).parent / "ray")
    told = subprocess.run([ray, "status", "--address", address], capture_output=True, text=True)
    return told.stdout.count(" node_") == count
