from dataclasses import replace

import numpy as np
import pytest
from peers import Peer, Proposal
from runner import incumbents, search
from tasks import Early, Measurement, Task


class Listed(Peer):
    """Proposes rows from a list, and notes what happens to it."""

    def __init__(self, task: Task, rows: list[int]) -> None:
        self.task, self.rows = task, rows
        self.log: list[str] = []

    def ask(self) -> Proposal:
        number = sum(entry.startswith("ask") for entry in self.log)
        self.log.append(f"ask {number}")
        return Proposal(number, self.task.params(self.rows[number]))

    def tell(self, number: int, measurement: Measurement) -> None:
        self.log.append(f"tell {number}")


@pytest.fixture
def timed(small: Task) -> Task:
    """One seed; row `n` has value `n` and takes `n` seconds."""
    numbers = np.arange(24.0).reshape(24, 1)
    return Task("timed", small.space, numbers, numbers)


def test_one_worker_asks_and_tells_in_turn(timed: Task) -> None:
    peer = Listed(timed, [5, 2, 9])
    trace = search(timed, peer, 3, 1, np.random.default_rng(0))
    assert peer.log == ["ask 0", "tell 0", "ask 1", "tell 1", "ask 2", "tell 2"]
    assert trace.values == trace.worths == [5.0, 2.0, 9.0]
    assert trace.finished == [5.0, 7.0, 16.0]
    assert len(trace.ask_seconds) == 3


def test_two_workers_tell_in_the_order_of_the_simulated_ends(timed: Task) -> None:
    peer = Listed(timed, [5, 2, 9, 1])  # ends at 5, 2, 2 + 9 and 5 + 1
    trace = search(timed, peer, 4, 2, np.random.default_rng(0))
    assert peer.log == ["ask 0", "ask 1", "tell 1", "ask 2", "tell 0", "ask 3", "tell 3", "tell 2"]
    assert trace.values == [2.0, 5.0, 1.0, 9.0]
    assert trace.finished == [2.0, 5.0, 6.0, 11.0]


def test_no_more_is_asked_for_than_is_evaluated(timed: Task) -> None:
    peer = Listed(timed, [5, 2, 9])
    search(timed, peer, 3, 8, np.random.default_rng(0))
    assert sorted(peer.log) == ["ask 0", "ask 1", "ask 2", "tell 0", "tell 1", "tell 2"]


def test_a_peer_sees_noise_and_is_judged_by_the_mean(small: Task) -> None:
    trace = search(small, Listed(small, [4] * 20), 20, 1, np.random.default_rng(0))
    assert set(trace.values) == set(small.values[4])
    assert set(trace.worths) == {small.means[4]}


def test_a_point_beyond_its_limits_is_never_the_incumbent(limited: Task) -> None:
    trace = search(limited, Listed(limited, [1, 2, 0, 4]), 4, 1, np.random.default_rng(0))
    assert np.isneginf(trace.values).tolist() == [True, True, False, True]
    assert incumbents(trace.values) == [0, 0, 2, 2]
    assert trace.worths == [limited.consolation, limited.consolation, limited.means[0], limited.consolation]


class Choosy(Listed):
    """Keeps the points of some rows after their short trainings."""

    stops_early = True

    def __init__(self, task: Task, rows: list[int], kept: set[int]) -> None:
        super().__init__(task, rows)
        self.kept = kept

    def keeps(self, number: int, early_value: float) -> bool:
        self.log.append(f"early {number}: {early_value}")
        return self.rows[number] in self.kept


def test_a_kept_point_is_trained_anew_and_a_stopped_one_makes_room(timed: Task) -> None:
    # Short trainings take a tenth. First worker: 0.5 + 5, second: 0.2, 0.9 + 9, and so on.
    task = replace(timed, early=Early(-np.arange(24.0), 1, 10))
    peer = Choosy(task, [5, 2, 9, 1, 4], kept={5, 9, 4})
    trace = search(task, peer, 3, 2, np.random.default_rng(0))
    assert peer.log == [
        *("ask 0", "ask 1", "early 1: -2.0", "ask 2", "early 0: -5.0", "early 2: -9.0", "tell 0"),
        *("ask 3", "early 3: -1.0", "ask 4", "early 4: -4.0", "tell 4", "tell 2"),
    ]
    assert trace.values == [5.0, 4.0, 9.0]
    assert trace.finished == pytest.approx([5.5, 5.5 + 0.1 + 0.4 + 4.0, 0.2 + 0.9 + 9.0])
    assert len(trace.ask_seconds) == 5


def test_the_incumbent_is_the_best_as_observed_and_the_first_of_equals() -> None:
    assert incumbents([1.0, 3.0, 2.0, 3.0, 4.0]) == [0, 1, 1, 1, 4]
    assert incumbents([]) == []
