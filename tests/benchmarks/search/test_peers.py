from collections import Counter
from dataclasses import replace
from math import comb
from pathlib import Path

import numpy as np
import peers
import pytest
from baselines import POPULATION, TOURNAMENT, RandomSearch, RegularisedEvolution
from optuna.distributions import IntDistribution
from peers import Peer, PeerUnavailable, make_peer, peer_version
from tasks import Early, Measurement, Task, code

INSTALLED = ["random", "evolution", "ours", "tpe", "gp"]
N_ASKED = 14  # beyond everybody's random start


def measured(value: float, violation: float = 0.0) -> Measurement:
    return Measurement(value, 1.0, violation)


def searched(peer: Peer, task: Task) -> list[int]:
    """Rows that a peer asks for, three proposals out at a time, told in another order than asked."""
    rng = np.random.default_rng(0)
    running = [peer.ask() for _ in range(3)]
    rows: list[int] = []
    while len(rows) < N_ASKED:
        proposal = running.pop(1)
        rows.append(task.row(proposal.params))
        peer.tell(proposal.number, task.evaluate(proposal.params, rng))
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


def test_a_sampler_that_knows_no_limits_is_told_of_a_failure(limited: Task) -> None:
    blind, knowing = make_peer("ours", limited, 0, 1), make_peer("tpe", limited, 0, 1)
    for peer in (blind, knowing):
        peer.tell(peer.ask().number, measured(1.0, violation=0.5))
    (failed,), (complete,) = blind._study.trials, knowing._study.trials  # type: ignore[attr-defined]
    assert (failed.state.name, failed.value) == ("FAIL", None)
    assert (complete.state.name, complete.value) == ("COMPLETE", 1.0)


@pytest.mark.parametrize("name", ["random+halving", "ours+halving", "tpe+halving"])
def test_halving_keeps_the_best_third_of_the_short_trainings(name: str, small: Task) -> None:
    peer = make_peer(name, replace(small, early=Early(np.zeros(24), 12, 200)), seed=0, workers=3)
    proposals = [peer.ask() for _ in range(6)]
    # Judged against those before it: kept while fewer than three, then when among the best third, rounded up.
    early = [3.0, 5.0, 4.0, 4.5, 6.0, 1.0]
    kept = [peer.keeps(p.number, value) for p, value in zip(proposals, early, strict=True)]
    assert kept == [True, True, False, True, True, False]
    for proposal in (p for p, keep in zip(proposals, kept, strict=True) if keep):
        peer.tell(proposal.number, measured(10.0))
    trials = peer._study.trials  # type: ignore[attr-defined]
    assert [trial.value for trial in trials] == [10.0, 10.0, 4.0, 10.0, 10.0, 1.0]
    assert trials[0].intermediate_values == {12: 3.0, 200: 10.0}


def test_halving_needs_short_trainings(small: Task) -> None:
    with pytest.raises(PeerUnavailable, match="short trainings, which 'small' has not"):
        make_peer("ours+halving", small, 0, 1)


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


def test_an_installed_peers_version_is_its_distributions() -> None:
    from importlib.metadata import version

    assert peer_version("tpe") == f"optuna {version('optuna')}"


def test_an_unknown_peer_lists_the_known_ones(small: Task) -> None:
    with pytest.raises(ValueError, match="evolution, ours, tpe"):
        make_peer("oracle", small, 0, 1)
