"""A private PostgreSQL cluster, which can be stopped, killed and started again."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

__all__ = ["Cluster", "running_cluster"]


@dataclass(frozen=True)
class Cluster:
    """A PostgreSQL that listens on a socket in its own folder only, and lets everybody in."""

    folder: Path
    binaries: Path
    as_user: tuple[str, ...]

    def url(self, database: str, password: str = "") -> str:
        user = f"postgres:{password}" if password else "postgres"
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def emptied(self) -> str:
        """The URL of its one database, without tables; a database for each test would cost 8 MB each."""
        self.execute("DROP SCHEMA public CASCADE")
        self.execute("CREATE SCHEMA public")
        return self.url("postgres")

    def execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def cut(self) -> None:
        """End all connections."""
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        self.execute(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE {others}")

    def start(self) -> None:
        options = f"-c listen_addresses='' -c fsync=off -k {self.folder}"
        self.call("pg_ctl", "-D", "data", "-w", "-o", options, "-l", "log", "start")

    def stop(self, mode: str = "fast") -> None:
        self.call("pg_ctl", "-D", "data", "-w", "-m", mode, "stop")

    def kill(self) -> None:
        """SIGKILL to the postmaster, and wait until its children have ended, too."""
        postmaster = psutil.Process(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]))
        children = postmaster.children()
        postmaster.kill()
        _, alive = psutil.wait_procs([postmaster, *children], timeout=60)
        assert alive == []

    def call(self, program: str, *words: str) -> bytes:
        """Run a program of the server, and return what it prints."""
        command = [*self.as_user, str(self.binaries / program), *words]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=self.folder).stdout


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A new cluster, gone afterwards; skips the test where no server is installed."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'autokd[postgresql]'")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        pytest.skip("no PostgreSQL server is installed (/usr/lib/postgresql/*/bin/initdb)")
    as_user: tuple[str, ...] = ()
    folder = Path(tempfile.mkdtemp(prefix="autokd-pg-", dir="/tmp"))  # a socket's path must be short
    if os.getuid() == 0:  # the server refuses to run as root
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("the tests run as root and there is no user postgres to run the server")
        os.chown(folder, user.pw_uid, user.pw_gid)
        as_user = ("runuser", "-u", "postgres", "--")
    cluster = Cluster(folder, programs[-1].parent, as_user)
    try:
        cluster.call("initdb", "-D", "data", "-U", "postgres", "-A", "trust", "--no-sync", "--locale=C", "-E", "UTF8")
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop("immediate")
    finally:
        shutil.rmtree(folder)
