import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from clusters import Cluster

from autokd.database import engine, lease_keeper, outages
from autokd.database.errors import DatabaseGone, DatabaseUnavailable
from autokd.database.lease import acquire
from autokd.database.lease_keeper import StopRequest, owning
from autokd.database.outages import Patience
from autokd.database.store import Store


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for a lock, and between two attempts, that are as short as they can be."""
    monkeypatch.setattr(engine, "_BUSY_SECONDS", 0.01)
    monkeypatch.setattr(outages, "_FIRST_PAUSE_SECONDS", 0.001)


@pytest.fixture
def news() -> list[str]:
    return []


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database with a search."""
    with Store(tmp_path / "db") as store:
        store.create_search("first", 0, {}, "d", {})
    return tmp_path / "db"


def waiting(where: Path | str, news: list[str], end: Callable[[], Any], seconds: float = 60.0) -> Store:
    """A store that waits, and for whom an outage ends when its beginning was told."""

    def hear(line: str) -> None:
        news.append(line)
        end()

    return Store(where, patience=Patience(seconds, hear))


def pragma(store: Store, setting: str) -> None:
    """Set on the one connection that is open."""
    with store.engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA {setting}")


def kinds(store: Store) -> list[str]:
    return [event.kind for event in store.events(1)]


def test_a_database_that_another_process_locks_is_waited_for(file: Path, news: list[str]) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with waiting(file, news, lambda: other.in_transaction and other.rollback()) as store:
            lease = acquire(store, "first")
            store.open_trial(lease, 0, {})
            assert kinds(store) == ["search_created", "lease_acquired", "trial_opened"]
    assert [line.split(" after ")[0] for line in news] == [
        f"database gone: trying again for up to 60 s. The database sqlite:///{file} must be there, writable and free, "
        "but it says: database is locked.",
        "database back",
    ]


def test_a_full_disk_is_waited_out(file: Path, news: list[str]) -> None:
    with waiting(file, news, lambda: pragma(store, "max_page_count = 1000000")) as store:
        lease = acquire(store, "first")
        pragma(store, "max_page_count = 1")  # as many as there are
        trial = store.open_trial(lease, 0, {"large": "x" * 100_000})
        assert store.trials(1) == [trial]
    assert "disk is full" in news[0]
    assert len(news) == 2


def test_a_database_that_may_not_be_written_is_not_waited_for(file: Path, news: list[str]) -> None:
    with waiting(file, news, lambda: None) as store:
        pragma(store, "query_only = on")
        with pytest.raises(DatabaseUnavailable, match="it says: attempt to write a readonly database") as caught:
            acquire(store, "first")
    assert not isinstance(caught.value, DatabaseGone)
    assert news == []


def test_an_outage_that_lasts_too_long_is_an_error_and_so_is_each_later_call(file: Path, news: list[str]) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other, waiting(file, news, int, 0.05) as store:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            with pytest.raises(DatabaseGone, match="database is locked"):
                acquire(store, "first")
        assert len(news) == 1
        other.rollback()
        acquire(store, "first")
        assert len(news) == 2


def test_without_patience_an_outage_is_an_error_at_once(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other, Store(file) as store:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseGone):
            store.create_search("second", 0, {}, "d", {})


def test_a_lease_that_cannot_be_released_is_released_when_the_database_is_back(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_keeper, "PERIOD_SECONDS", 0.01)
    with closing(sqlite3.connect(file, isolation_level=None)) as other, Store(file) as store:
        with owning(store, "first", StopRequest()):
            other.execute("BEGIN IMMEDIATE")
        assert store.search("first").lease_host is not None
        other.rollback()
        for thread in threading.enumerate():
            if thread.name == "release":
                thread.join()
        assert store.search("first").lease_host is None


@pytest.mark.slow  # starts a server
def test_a_server_that_stopped_is_waited_for_by_reading_writing_and_opening(cluster: Cluster, news: list[str]) -> None:
    where = cluster.emptied()
    with waiting(where, news, lambda: news[-1].startswith("database gone") and cluster.start()) as store:
        store.create_search("first", 0, {}, "d", {})
        for verb in (lambda: store.searches(), lambda: acquire(store, "first"), lambda: store._prepare(False)):
            cluster.stop()
            verb()
        assert kinds(store) == ["search_created", "lease_acquired"]
    assert [line.split()[1] for line in news] == ["gone:", "back"] * 3
