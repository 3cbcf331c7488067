from dataclasses import replace

import numpy as np
import pytest
from ladder import Rungs
from nearest import NearestTask
from optuna.distributions import FloatDistribution
from peers import Peer, Proposal
from runner import Shorter, search, time_of
from tasks import Measurement, Task


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
    assert trace.rows == trace.values == trace.worths == [5.0, 2.0, 9.0]
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


def test_a_point_beyond_its_limits_has_no_value(limited: Task) -> None:
    trace = search(limited, Listed(limited, [1, 2, 0, 4]), 4, 1, np.random.default_rng(0))
    assert np.isneginf(trace.values).tolist() == [True, True, False, True]
    assert trace.rows == [1, 2, 0, 4]
    assert trace.worths == [limited.consolation, limited.consolation, limited.means[0], limited.consolation]


class Choosy(Listed):
    """Keeps points by row and rung."""

    stops_early = True

    def __init__(self, task: Task, rows: list[int], kept: set[tuple[int, int]]) -> None:
        super().__init__(task, rows)
        self.kept = kept

    def keeps(self, number: int, rung: int, value: float) -> bool:
        self.log.append(f"rung {rung} of {number}: {value}")
        return (self.rows[number], rung) in self.kept


def test_a_kept_point_is_trained_anew_and_a_stopped_one_makes_room(timed: Task) -> None:
    # Short trainings take a tenth. First worker: 0.5 + 5, 0.1, 0.4 + 4; second: 0.2, 0.9 + 9. The mean time is 11.5.
    task = replace(timed, ladder=Rungs((1, 10), -np.arange(24.0)[:, np.newaxis]))
    peer = Choosy(task, [5, 2, 9, 1, 4, 3], kept={(5, 0), (9, 0), (4, 0)})
    trace = search(task, peer, evaluations=1, workers=2, rng=np.random.default_rng(0))
    assert peer.log == [
        *("ask 0", "ask 1", "rung 0 of 1: -2.0", "ask 2", "rung 0 of 0: -5.0", "rung 0 of 2: -9.0", "tell 0"),
        *("ask 3", "rung 0 of 3: -1.0", "ask 4", "rung 0 of 4: -4.0"),
    ]
    assert trace.values == [5.0]
    assert trace.finished == pytest.approx([5.5])
    assert [training.row for training in trace.shorter] == [2, 5, 9, 1, 4]
    assert trace.shorter[2] == Shorter(9, 0, -9.0, worth=9.0, finished=0.2 + 0.9)
    assert len(trace.ask_seconds) == 5


def test_a_point_that_climbs_on_pays_the_further_steps_only(timed: Task) -> None:
    ladder = Rungs((2, 5, 10), np.arange(24.0)[:, np.newaxis] * [[1.0, 2.0]], continues=True)
    peer = Choosy(task := replace(timed, ladder=ladder), [20, 10, 0], kept={(20, 0), (20, 1), (10, 0)})
    trace = search(task, peer, evaluations=2, workers=1, rng=np.random.default_rng(0))
    # 20 takes its 20 seconds in parts, 10 stops after half of its 10, by when the 23 seconds are over.
    ended = [(20, 0, 20.0), (20, 1, 40.0), (10, 0, 10.0), (10, 1, 20.0)]
    assert [(s.row, s.rung, s.value) for s in trace.shorter] == ended
    assert [s.finished for s in trace.shorter] == pytest.approx([4.0, 10.0, 22.0, 25.0])
    assert trace.rows == [20]
    assert trace.finished == pytest.approx([20.0])
    assert trace.ask_seconds[2:] == []


def test_a_ladder_ends_the_search_with_the_time_of_so_many_full_trainings(timed: Task) -> None:
    task = replace(timed, ladder=Rungs((1, 10), np.zeros((24, 1))))
    assert time_of(task, 8, workers=4) == 8 * 11.5 / 4
    trace = search(task, Listed(task, [10] * 20), evaluations=8, workers=4, rng=np.random.default_rng(0))
    assert trace.finished == [10.0] * 4 + [20.0] * 4 + [30.0]  # the first that ends after 23 seconds is the last


class Told(Listed):
    """Lays the rungs down itself."""

    def __init__(self, task: Task, jobs: list[tuple[int, int, int | None]]) -> None:
        """Jobs are row, rung, and the number of the job that is gone on with, if any."""
        super().__init__(task, [row for row, _, _ in jobs])
        self.jobs = jobs

    def ask(self) -> Proposal:
        proposal = super().ask()
        _, rung, after = self.jobs[proposal.number]
        return proposal._replace(rung=rung, after=after)


def test_a_peer_that_lays_the_rung_down_is_told_of_each(timed: Task) -> None:
    ladder = Rungs((2, 5, 10), np.arange(24.0)[:, np.newaxis] * [[1.0, 2.0]], continues=True)
    peer = Told(task := replace(timed, ladder=ladder), [(20, 0, None), (20, 2, 0), (10, 1, None)])
    trace = search(task, peer, evaluations=2, workers=1, rng=np.random.default_rng(0))
    assert peer.log == ["ask 0", "tell 0", "ask 1", "tell 1", "ask 2", "tell 2"]
    assert [(s.row, s.rung, s.finished) for s in trace.shorter] == [(20, 0, 4.0), (10, 1, 25.0)]
    assert (trace.rows, trace.finished) == ([20], [20.0])


@pytest.fixture
def line() -> NearestTask:
    """Settings 1, 10, 100 and 1000 of one parameter, which take ten seconds each; row `n` has value `n`."""
    numbers, ladder = np.arange(4.0)[:, np.newaxis], Rungs((2, 5, 10), np.zeros((4, 2)), continues=True)
    space = {"rate": FloatDistribution(1.0, 1000.0, log=True)}
    settings = [{"rate": 10.0**number} for number in range(4)]
    return NearestTask("line", space, numbers, np.full((4, 1), 10.0), ladder=ladder, settings=settings)


def test_whoever_proposes_a_setting_again_gets_the_nearest_that_is_not_trained_yet(line: NearestTask) -> None:
    plain = replace(line, ladder=Rungs())
    trace = search(plain, Listed(plain, [1, 0, 1, 1, 2]), 5, 1, np.random.default_rng(0))
    assert trace.rows == trace.values == trace.worths == [1, 0, 2, 3, 2]  # after all four the nearest itself
    both = search(plain, Listed(plain, [3, 3]), 2, 2, np.random.default_rng(0))
    assert both.rows == [3, 2]  # one that is still being trained is taken too


def test_a_trial_keeps_its_row_through_its_rungs(line: NearestTask) -> None:
    peer = Choosy(line, [3, 3, *[0] * 6], kept={(3, 0), (3, 1)})
    trace = search(line, peer, evaluations=3, workers=2, rng=np.random.default_rng(0))
    assert [(s.row, s.rung) for s in trace.shorter[:6]] == [(3, 0), (2, 0), (3, 1), (2, 1), (0, 0), (1, 0)]
    assert trace.rows == [3, 2]


def test_a_proposal_that_goes_on_with_another_keeps_its_row(line: NearestTask) -> None:
    peer = Told(line, [(3, 0, None), (3, 0, None), (3, 1, 1), (3, 2, 0), (0, 0, None)])
    trace = search(line, peer, evaluations=1, workers=1, rng=np.random.default_rng(0))
    # Two seconds each at the lowest rung; then the second trial pays three more, and the first one eight.
    assert [(s.row, s.rung, s.finished) for s in trace.shorter] == [(3, 0, 2.0), (2, 0, 4.0), (2, 1, 7.0)]
    assert (trace.rows, trace.finished) == ([3], [15.0])
