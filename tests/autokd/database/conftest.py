"""Databases for the tests: a SQLite file, and a private PostgreSQL cluster where the server is installed."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from autokd.database.lease import Lease, acquire
from autokd.database.rows import SearchRow
from autokd.database.store import Store

# The server takes about two seconds to start.
ENGINES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]


@dataclass(frozen=True)
class Cluster:
    """A running PostgreSQL that listens on a socket in its own folder only."""

    folder: Path

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def emptied(self) -> str:
        """The URL of its one database, without tables; a database for each test would cost 8 MB each."""
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        return self.url("postgres")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One cluster for all tests, gone afterwards."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'autokd[postgresql]'")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        pytest.skip("no PostgreSQL server is installed (/usr/lib/postgresql/*/bin/initdb)")
    as_user: list[str] = []
    folder = Path(tempfile.mkdtemp(prefix="autokd-pg-", dir="/tmp"))  # a socket's path must be short
    if os.getuid() == 0:  # the server refuses to run as root
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("the tests run as root and there is no user postgres to run the server")
        os.chown(folder, user.pw_uid, user.pw_gid)
        as_user = ["runuser", "-u", "postgres", "--"]
    binaries, data = programs[-1].parent, folder / "data"

    def call(*command: object) -> None:
        subprocess.run([*as_user, *map(str, command)], check=True, stdout=subprocess.DEVNULL, cwd=folder)

    options = f"-c listen_addresses='' -c fsync=off -k {folder}"
    call(binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "--locale=C", "-E", "UTF8")
    call(binaries / "pg_ctl", "-D", data, "-w", "-o", options, "-l", folder / "log", "start")
    try:
        yield Cluster(folder)
    finally:
        call(binaries / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture(params=ENGINES)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "autokd.sqlite")
    cluster: Cluster = request.getfixturevalue("cluster")
    return cluster.emptied()


@pytest.fixture
def store(where: str) -> Iterator[Store]:
    with Store(where) as store:
        yield store


@pytest.fixture
def search(store: Store) -> SearchRow:
    return store.create_search("first", 7, {"space": "nago"}, "c0", {"teacher": "t0"})


@pytest.fixture
def lease(store: Store, search: SearchRow) -> Lease:
    return acquire(store, search.id)


@pytest.fixture
def environment() -> Callable[[], dict[str, str]]:
    """What a subprocess needs to import what this process can."""
    return lambda: {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *filter(None, sys.path)])}
