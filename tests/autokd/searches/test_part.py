"""What is read of a search of very many trials, compared with a choice among all of its rows."""

from typing import Any

import pytest

from autokd.database.lease import acquire
from autokd.database.rows import UNREAD
from autokd.database.store import Store
from autokd.searches import part
from autokd.searches.part import records_to_rank, spread_records
from autokd.searches.trial_record import each_record, trial_records
from search_spaces.design.budget import Budget


@pytest.fixture
def store(make_problem, make_store) -> Store:
    """A search of twenty trials that ended at the rungs 0 and 1, each with a student of 100 parameters more."""
    store: Store = make_store(make_problem())
    lease = acquire(store, 1)
    for number in range(20):
        trial = store.open_trial(lease, number, {"x": number})
        store.add_student(lease, trial.id, 0, "search", f"d{number}", {"nodes": [number]}, 100 * number, 1, 1, 1)
        value = (7 * number % 20) / 20
        store.finish_trial(lease, trial.id, "pruned", value, rung=number % 2, seconds=1.0)
    return store


def numbers(records: Any) -> list[int]:
    return [record.trial.number for record in records]


def test_trials_are_spread_evenly(store: Store) -> None:
    assert numbers(spread_records(store, 1, 20)) == list(range(20))
    assert numbers(spread_records(store, 1, 5)) == [0, 4, 8, 12, 16]
    assert numbers(spread_records(store, 1, 5, "complete")) == []


def test_of_many_the_best_by_rung_and_value_are_ranked_with_some_of_the_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert numbers(records_to_rank(store, 1)) == list(range(20))
    for name, number in {"MANY": 19, "N_BEST": 4, "N_SPREAD": 2}.items():
        monkeypatch.setattr(part, name, number)
    best = sorted(range(20), key=lambda number: (-(number % 2), -(7 * number % 20)))
    others = sorted(set(range(20)) - set(best[:4]))
    assert numbers(records_to_rank(store, 1)) == sorted([*best[:4], others[0], others[8]])
    small = [number for number in best if number <= 6][:4]
    assert set(small) <= set(numbers(records_to_rank(store, 1, Budget(params=600))))


def test_trials_read_one_after_the_other_are_those_read_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autokd.searches.trial_record.AT_ONCE", 7)
    assert list(each_record(store, 1, architectures=True)) == list(trial_records(store, 1).values())


def test_an_architecture_that_was_not_read_cannot_be_used(store: Store) -> None:
    first = next(each_record(store, 1, architectures=False)).students[0]
    assert (first.architecture, first.params) == (UNREAD, 0)
    for use in (dict, len, list, lambda unread: unread["nodes"]):
        with pytest.raises(LookupError, match="without its architecture"):
            use(first.architecture)
