"""A search whose database server fails, at every moment of a transaction, records what an undisturbed one does."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clusters import Cluster
from inline_searches import rows, run

from autokd.database import outages
from autokd.database.outages import Patience
from autokd.database.store import Store
from autokd.searches.problem import Problem

IDS = ("id", "trial_id", "student_id")  # a server skips some where a transaction failed

Step = Callable[[], object]


def between(commit: Step, fail: Step, answer: Step) -> None:
    """The server fails after a transaction."""
    commit()
    fail()


def inside(commit: Step, fail: Step, answer: Step) -> None:
    """It fails in a transaction, of which nothing is left."""
    fail()
    commit()


def unanswered(commit: Step, fail: Step, answer: Step) -> None:
    """It commits, and fails before it says so."""
    commit()
    fail()
    answer()


def disturb(
    monkeypatch: pytest.MonkeyPatch, store: Store, moment: Callable[..., None], fail: Step, share: float
) -> None:
    """Let the server fail at this share of all commits, those that are tried again included."""
    commit, chance = store.engine.dialect.do_commit, random.Random(0)

    def do_commit(connection: Any) -> None:
        if chance.random() > share:
            commit(connection)
        else:
            moment(lambda: commit(connection), fail, lambda: connection.execute("SELECT 1"))

    monkeypatch.setattr(store.engine.dialect, "do_commit", do_commit)


@pytest.mark.slow  # starts a server again and again
@pytest.mark.parametrize(
    ("moment", "failure", "share"),
    [
        (between, "cut", 1.0),
        (inside, "cut", 0.5),
        (unanswered, "cut", 1.0),
        (between, "stop", 0.4),
        (inside, "stop", 0.4),
        (unanswered, "kill", 0.4),
    ],
)
def test_a_search_whose_server_fails_records_the_same_rows(
    make_problem: Callable[..., Problem],
    make_store: Callable[..., Store],
    pretend: Callable[..., None],
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    moment: Callable[..., None],
    failure: str,
    share: float,
) -> None:
    monkeypatch.setattr(outages, "_FIRST_PAUSE_SECONDS", 0.001)
    news: list[str] = []

    def hear(line: str) -> None:
        news.append(line)
        if failure != "cut" and line.startswith("database gone"):
            cluster.start()

    def on_server(file: Path) -> Store:
        return Store(cluster.emptied(), patience=Patience(60, hear))

    problem = make_problem(trials=2, training={"rungs": [1, 3]})
    undisturbed, disturbed = make_store(problem), make_store(problem, on_server)
    pretend()
    run(problem, undisturbed)
    disturb(monkeypatch, disturbed, moment, getattr(cluster, failure), share)
    run(problem, disturbed)

    assert rows(disturbed, *IDS) == rows(undisturbed, *IDS)
    kinds = [[event.kind for event in store.events(1)] for store in (undisturbed, disturbed)]
    assert kinds[0] == kinds[1]
    told = [line.split()[1] for line in news]
    assert told == ["gone:", "back"] * (len(told) // 2)
    assert told or failure == "cut"  # a server that answers at once was never gone
