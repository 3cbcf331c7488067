"""Databases for the tests: a SQLite file, and PostgreSQL where the server is installed."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clusters import Cluster
from random_searches import record_randomly

from autokd.database.lease import Lease, acquire
from autokd.database.rows import SearchRow
from autokd.database.store import Store

# The server takes about two seconds to start.
ENGINES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]


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


@pytest.fixture(params=range(3))
def searches(request: pytest.FixtureRequest, store: Store) -> list[int]:
    """Ids of two searches of which everything is left to chance."""
    rows = [store.create_search(name, 7, {}, "c0", {}) for name in ("one", "other")]
    for row in rows:
        record_randomly(store, acquire(store, row.id), seed=10 * request.param + row.id)
    return [row.id for row in rows]
