"""A search as another process sees it that looks again and again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from clusters import Cluster

from autokd.database.lease import Lease, acquire, release
from autokd.database.store import Store
from autokd.searches import watching
from autokd.searches.problem import Problem
from autokd.searches.reporter import Silent
from autokd.searches.result import SearchResult
from autokd.searches.watching import watch
from autokd.searches.workspace import Workspace


class Heard(Silent):
    """Keeps the lines."""

    def __init__(self) -> None:
        self.lines = list[str]()

    def notify(self, line: str) -> None:
        self.lines.append(line)


@contextmanager
def created(workspace: Workspace, problem: Problem) -> Iterator[tuple[Store, SearchResult]]:
    """A recorded search that nobody runs yet."""
    config = problem.config
    with workspace.open(create=True, notify=lambda line: None) as store:
        store.create_search(config.name, config.seed, config.to_dict(), config.digest, asdict(problem.facts))
        yield store, SearchResult(workspace, config.name, None, Heard())


@contextmanager
def running(workspace: Workspace, problem: Problem) -> Iterator[tuple[Store, Lease, SearchResult]]:
    """A recorded search that this process runs."""
    with created(workspace, problem) as (store, result):
        lease = acquire(store, result.name)
        store.set_status(lease, "running")
        yield store, lease, result
        release(store, lease)


def test_every_event_is_seen_once_and_the_end_is_seen_last(
    make_problem: Callable[..., Problem], tmp_path: Path
) -> None:
    with running(Workspace(tmp_path), make_problem()) as (store, lease, result):
        seen: list[Any] = []
        for n, look in enumerate(watch(result, seconds=0)):
            seen.append([event.kind for event in look.events])
            assert look.progress.status == ("running" if n < 3 else "finished")
            if n == 2:
                store.set_status(lease, "finished")
            else:
                store.record_event(lease, f"number {n}", {})
    assert seen == [[], ["number 0"], ["number 1"], ["status_changed"]]


def test_a_search_that_does_not_run_is_looked_at_once(make_problem: Callable[..., Problem], tmp_path: Path) -> None:
    with running(Workspace(tmp_path), make_problem()) as (store, lease, result):
        store.set_status(lease, "interrupted")
        assert [look.progress.status for look in watch(result, seconds=0)] == ["interrupted"]


def test_a_search_that_was_recorded_just_now_is_waited_for(
    make_problem: Callable[..., Problem], tmp_path: Path
) -> None:
    with created(Workspace(tmp_path), make_problem()) as (store, result):
        looks = watch(result, seconds=0)
        assert [next(looks).progress.status for _ in range(3)] == 3 * ["created"]
        lease = acquire(store, result.name)
        assert next(looks).progress.status == "created"
        store.set_status(lease, "running")
        assert next(looks).progress.status == "running"
        store.set_status(lease, "finished")
        assert [look.progress.status for look in looks] == ["finished"]


def test_a_search_that_was_recorded_and_never_began_is_not(
    make_problem: Callable[..., Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "BEGINNING", timedelta(0))
    with created(Workspace(tmp_path), make_problem()) as (_, result):
        assert [look.progress.status for look in watch(result, seconds=0)] == ["created"]


@pytest.mark.slow  # a server stops and starts
def test_an_outage_of_the_database_is_waited_out(
    make_problem: Callable[..., Problem], cluster: Cluster, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path, cluster.emptied())
    with running(workspace, make_problem()) as (store, lease, result):
        looks = watch(result, seconds=0)
        next(looks)
        cluster.stop()
        starts = Thread(target=cluster.start)
        starts.start()
        assert next(looks).progress.status == "running"
        starts.join()
        store.set_status(lease, "finished")
        assert [look.progress.status for look in looks] == ["finished"]
    heard = result.reporter.lines  # type: ignore[attr-defined]
    assert [line.partition(":")[0].partition(" after")[0] for line in heard] == ["database gone", "database back"]
