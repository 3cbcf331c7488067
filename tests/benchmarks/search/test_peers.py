from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import comb
from pathlib import Path

import numpy as np
import peers
import pytest
import samplers
from baselines import POPULATION, TOURNAMENT, RandomSearch, RegularisedEvolution
from grids import code, decoded
from nearest import NearestTask
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial
from peers import PEERS, Peer, PeerUnavailable, Proposal, make_peer, peer_version
from runner import search
from samplers import SamplerPeer
from tasks import Measurement, Task

INSTALLED = ["random", "evolution", "ours", "tpe", "gp"]
N_ASKED = 14  # beyond everybody's random start


def measured(value: float, violation: float = 0.0) -> Measurement:
    return Measurement(value, 1.0, {"latency": violation})


def searched(peer: Peer, task: Task) -> list[int]:
    """Rows that a peer asks for, three proposals out at a time, told in another order than asked."""
    rng = np.random.default_rng(0)
    running = [peer.ask() for _ in range(3)]
    rows: list[int] = []
    while len(rows) < N_ASKED:
        proposal = running.pop(1)
        rows.append(task.row(proposal.params))
        peer.tell(proposal.number, task.evaluate(rows[-1], rng))
        running.append(peer.ask())
    return rows


@pytest.mark.parametrize("name", INSTALLED)
def test_a_peer_proposes_points_of_the_space_and_repeats_itself(name: str, small: Task) -> None:
    first, again = (searched(make_peer(name, small, seed=3, workers=3), small) for _ in range(2))
    assert first == again
    assert all(0 <= row < small.size for row in first)


@pytest.mark.parametrize("name", INSTALLED)
def test_a_peer_goes_on_when_points_break_limits(name: str, limited: Task) -> None:
    assert len(searched(make_peer(name, limited, seed=3, workers=3), limited)) == N_ASKED


@pytest.mark.parametrize("name", INSTALLED)
def test_another_seed_proposes_something_else(name: str, small: Task) -> None:
    one, other = (searched(make_peer(name, small, seed=seed, workers=3), small) for seed in (3, 4))
    assert one != other


def test_random_search_sees_every_point_once(small: Task) -> None:
    peer = RandomSearch(small, seed=0, workers=1)
    assert sorted(small.row(peer.ask().params) for _ in range(small.size)) == list(range(small.size))


@pytest.fixture
def wide() -> Task:
    """So many points that no two random ones are neighbours."""
    space = {f"layer_{layer}": IntDistribution(0, 4) for layer in range(8)}
    zeros = np.zeros((5**8, 1))
    return Task("wide", space, zeros, zeros + 1)


def codes(task: Task, params: dict[str, object]) -> tuple[int, ...]:
    return tuple(code(distribution, params[name]) for name, distribution in task.space.items())


def distance(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def test_evolutions_parents_win_their_tournaments_as_often_as_counting_says(wide: Task) -> None:
    peer = RegularisedEvolution(wide, seed=0, workers=1)
    population = []
    for rank in range(POPULATION):  # the first is the best
        proposal = peer.ask()
        population.append(codes(wide, proposal.params))
        peer.tell(proposal.number, measured(-rank))
    n_children = 2000
    wins: Counter[int] = Counter()
    for _ in range(n_children):
        child = codes(wide, peer.ask().params)
        parents = [rank for rank, member in enumerate(population) if distance(child, member) == 1]
        assert len(parents) == 1
        wins[parents[0]] += 1
    for rank in range(POPULATION):  # it is drawn, and so are seven of those who are worse
        share = comb(POPULATION - rank - 1, TOURNAMENT - 1) / comb(POPULATION, TOURNAMENT)
        error = np.sqrt(share * (1 - share) / n_children)
        assert wins[rank] / n_children == pytest.approx(share, abs=4 * error + 1e-12)


def test_evolutions_old_ones_have_no_children(wide: Task) -> None:
    peer = RegularisedEvolution(wide, seed=1, workers=1)
    told: list[tuple[int, ...]] = []
    for age in range(200):
        proposal = peer.ask()
        child = codes(wide, proposal.params)
        if age >= POPULATION:
            assert any(distance(child, parent) == 1 for parent in told[-POPULATION:])
        told.append(child)
        peer.tell(proposal.number, measured(-age))  # the oldest is the best, and dies all the same


def test_evolution_prefers_any_feasible_point_and_then_the_least_violation(wide: Task) -> None:
    peer = RegularisedEvolution(wide, seed=0, workers=1)
    population = []
    for rank in range(POPULATION):
        proposal = peer.ask()
        population.append(codes(wide, proposal.params))
        # The later the better, while the values say the opposite; one member alone is feasible, and worthless.
        feasible = rank == POPULATION - 1
        peer.tell(proposal.number, measured(-100.0) if feasible else measured(-rank, violation=1 / (rank + 1)))
    wins = Counter(
        next(rank for rank, member in enumerate(population) if distance(child, member) == 1)
        for child in (codes(wide, peer.ask().params) for _ in range(500))
    )
    assert wins.most_common(1)[0][0] == POPULATION - 1
    assert wins[POPULATION - 1] > wins[POPULATION - 2] > wins[POPULATION - 6]
    assert max(wins[rank] for rank in range(5)) == 0


class Feasible(RandomSampler):
    """Stands in for a sampler that asks which points it may propose."""

    def __init__(self, seed: int, search_space: Mapping[str, BaseDistribution], feasible: Callable[..., bool]) -> None:
        super().__init__(seed)
        self.feasible = feasible


def told(peer: Peer, excesses: dict[str, float]) -> FrozenTrial:
    """The study's trial after a proposal has given 1 under some limits."""
    peer.tell(peer.ask().number, Measurement(1.0, 1.0, excesses))
    trial: FrozenTrial = peer._study.trials[-1]  # type: ignore[attr-defined]
    return trial


@pytest.mark.parametrize("name", ["tpe", "gp"])
def test_a_sampler_that_knows_no_limit_beforehand_learns_of_all(name: str, limited: Task) -> None:
    trial = told(make_peer(name, limited, 0, 1), {"params": 0.5, "latency": -0.25})
    assert (trial.state.name, trial.value) == ("COMPLETE", 1.0)
    assert trial.constraints == {"params": 0.5, "latency": -0.25}


def test_to_a_sampler_without_constraints_a_broken_limit_is_a_failure(limited: Task) -> None:
    peer = SamplerPeer(limited, RandomSampler(0))
    assert told(peer, {"params": 0.5, "latency": -0.25}).state.name == "FAIL"
    assert told(peer, {"params": -0.5, "latency": -0.25}).state.name == "COMPLETE"


def test_ours_knows_beforehand_what_can_be_computed_and_learns_the_rest(
    limited: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samplers, "own_sampler", lambda name, seed, space, **options: Feasible(seed, space, **options))
    peer = make_peer("ours", limited, 0, 1)
    feasible = peer._study.sampler.feasible  # type: ignore[attr-defined]
    assert [feasible(limited.params(row)) for row in range(3)] == [True, False, True]
    assert told(peer, {"params": -0.5, "latency": 0.25}).constraints == {"latency": 0.25}
    assert told(peer, {"params": 0.5, "latency": 0.25}).state.name == "FAIL"


def test_ours_proposes_only_what_keeps_the_limits_that_can_be_computed(limited: Task) -> None:
    rows = searched(make_peer("ours", limited, 3, 3), limited)
    assert limited.computably_feasible[rows].all()


def test_ours_can_be_told_of_graphs_where_something_is_known_of_them(limited: Task) -> None:
    without = searched(make_peer("ours", limited, 3, 3), limited)
    assert searched(make_peer("ours+graphs", limited, 3, 3), limited) == without
    known = replace(limited, features=lambda params: [params["width"]])
    rows = searched(make_peer("ours+graphs", known, 3, 3), known)
    assert limited.computably_feasible[rows].all()
    assert rows != without


@pytest.mark.parametrize("name", ["random+halving", "ours+halving", "ours+graphs+halving", "tpe+halving"])
def test_halving_keeps_the_best_third_at_each_rung(name: str, laddered: Task) -> None:
    peer = make_peer(name, laddered, seed=0, workers=3)
    proposals = [peer.ask() for _ in range(6)]
    # Judged against those before it: kept while fewer than three, then when among the best third, rounded up.
    first = [3.0, 5.0, 4.0, 4.5, 6.0, 1.0]
    kept = [peer.keeps(p.number, 0, value) for p, value in zip(proposals, first, strict=True)]
    assert kept == [True, True, False, True, True, False]
    survivors = [p for p, keep in zip(proposals, kept, strict=True) if keep]
    second = [peer.keeps(p.number, 1, value) for p, value in zip(survivors, [3.0, 2.0, 1.0, 4.0], strict=True)]
    assert second == [True, True, False, True]
    for proposal in (survivors[index] for index in (0, 1, 3)):
        peer.tell(proposal.number, measured(10.0))
    trials = peer._study.trials  # type: ignore[attr-defined]
    assert [trial.value for trial in trials] == [10.0, 10.0, 4.0, 1.0, 10.0, 1.0]
    assert trials[0].intermediate_values == {2: 3.0, 5: 3.0, 10: 10.0}


@pytest.mark.parametrize("name", ["hyperband", "bohb"])
def test_hyperband_has_a_bracket_for_each_rung_that_stops_nobody_below_it(name: str, laddered: Task) -> None:
    peer = make_peer(name, laddered, seed=0, workers=1)
    stops: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for number in range(120):  # each worse than those before, so that whoever is judged is stopped
        assert peer.ask().number == number
        bracket = peer._study.pruner._get_bracket_id(peer._study, peer._study.trials[number])  # type: ignore
        stopped = next((rung for rung in (0, 1) if not peer.keeps(number, rung, -number)), 2)
        if stopped == 2:
            peer.tell(number, measured(-number))
        if number:
            stops[bracket].append(stopped)
    assert len(peer._study.pruner._pruners) == 3  # type: ignore[attr-defined]
    assert [set(stops[bracket][5:]) for bracket in range(3)] == [{0}, {1}, {2}]
    # Algorithm 1 of Hyperband with R = 9 starts 9, 5 and 3 in the brackets.
    shares = [len(stops[bracket]) / 119 for bracket in range(3)]
    assert shares == pytest.approx([9 / 17, 5 / 17, 3 / 17], abs=0.12)


@pytest.mark.parametrize("name", ["random+halving", "bohb", "dehb"])
def test_who_stops_early_needs_shorter_trainings(name: str, small: Task) -> None:
    with pytest.raises(PeerUnavailable, match="shorter trainings, which 'small' has not"):
        make_peer(name, small, 0, 1)


@pytest.mark.parametrize("name", ["random+halving", "tpe+halving", "hyperband", "bohb", "dehb"])
def test_who_stops_early_repeats_itself(name: str, laddered: Task) -> None:
    pytest.importorskip("dehb") if name == "dehb" else None
    peers = [make_peer(name, laddered, 3, 2) for _ in range(2)]
    first, again = (search(laddered, peer, 12, 2, np.random.default_rng(0)) for peer in peers)
    assert (first.rows, first.values, first.shorter) == (again.rows, again.values, again.shorter)
    assert len(first.rows) < 12 < len(first.shorter)


def test_dehb_begins_with_successive_halving_and_lets_survivors_go_on(laddered: Task) -> None:
    pytest.importorskip("dehb", reason="the peer is not installed")
    peer = make_peer("dehb", laddered, 0, 1)
    jobs: list[Proposal] = []
    for _ in range(13):  # 9, 3 and 1 on the way up
        jobs.append(peer.ask())
        peer.tell(jobs[-1].number, measured(-laddered.row(jobs[-1].params)))
    assert [job.rung for job in jobs] == [0] * 9 + [1] * 3 + [2]
    assert [job.after for job in jobs[:9]] == [None] * 9
    rows = [laddered.row(job.params) for job in jobs]
    assert [rows[job.after] for job in jobs[9:] if job.after is not None] == rows[9:]
    assert jobs[12].after in (9, 10, 11)
    assert sorted(rows[9:12]) == sorted(rows[:9])[:3]
    assert rows[12] == min(rows)


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        (CategoricalDistribution(("a", "b", None)), ["a", "a", "b", None, None]),
        (IntDistribution(8, 32, step=8), [8, 8, 24, 32, 32]),
        (FloatDistribution(1e-4, 1e0, log=True), [1e-4, 10**-3.2, 1e-2, 10**-0.4, 1.0]),
        (FloatDistribution(-1.0, 1.0), [-1.0, -0.6, 0.0, 0.8, 1.0]),
    ],
)
def test_dehb_sees_every_parameter_as_an_interval(distribution: BaseDistribution, expected: list[object]) -> None:
    found = [decoded(distribution, position) for position in (0.0, 0.2, 0.5, 0.9, 1.0)]
    assert found == [value if isinstance(value, str | None) else pytest.approx(value) for value in expected]


def test_evolutions_children_differ_in_one_number_of_a_continuum(continuum: NearestTask) -> None:
    peer = make_peer("evolution", continuum, 0, 1)
    proposed = []
    for number in range(60):
        proposed.append(peer.ask().params)
        peer.tell(number, measured(continuum.values[continuum.row(proposed[-1]), 0]))
    for child in proposed[POPULATION:]:
        assert 1 in (len(child.items() - parent.items()) for parent in proposed)
        assert 1e-4 <= child["rate"] <= 1.0
        assert 0.0 <= child["share"] <= 0.5


def test_cma_es_says_that_it_needs_numbers_or_a_package(small: Task) -> None:
    categories = {name: d for name, d in small.space.items() if name == "merge"}
    with pytest.raises(PeerUnavailable, match="needs"):
        make_peer("cma-es", Task("categories", categories, small.values[:3], small.seconds[:3]), 0, 1)


def test_a_version_changes_with_our_sources_and_only_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "moody.py").write_text("mood = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(peers.PEERS, "moody", peers.Kind("moody:mood", "moody"))
    before = peer_version("moody")
    assert peer_version("moody") == before
    (tmp_path / "moody.py").write_text("mood = 2\n")
    assert peer_version("moody") != before


def test_a_version_changes_with_modules_of_subpackages_and_with_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / "moods" / "deep"
    deep.mkdir(parents=True)
    (deep.parent / "__init__.py").touch()
    (deep / "mood.py").write_text("mood = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(peers.PEERS, "moods", peers.Kind("moods:mood", "moods"))
    first = peer_version("moods")
    (deep / "mood.py").write_text("mood = 2\n")
    second = peer_version("moods")
    (deep / "mood.py").rename(deep / "temper.py")
    assert len({first, second, peer_version("moods")}) == 3


def test_an_installed_peers_version_is_its_distributions() -> None:
    from importlib.metadata import version

    assert peer_version("tpe") == f"optuna {version('optuna')}"


def test_an_unknown_peer_lists_the_known_ones(small: Task) -> None:
    with pytest.raises(ValueError, match="evolution, ours, ours\\+graphs, tpe"):
        make_peer("oracle", small, 0, 1)


def test_every_peer_is_compared_somewhere() -> None:
    assert {*peers.FULL, *peers.LADDER} == set(PEERS)
