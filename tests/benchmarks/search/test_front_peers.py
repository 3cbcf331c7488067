import sys
from dataclasses import replace

import front_peers
import numpy as np
import peers
import pytest
from front_peers import FRONT_PEERS, FrontPeer, front_peer_version, make_front_peer
from front_task import Tradeoff
from optuna.samplers import BaseSampler, RandomSampler
from peers import PeerUnavailable, peer_version
from tasks import Measurement, Params, Task

N_ASKED = 14  # beyond the random starts, but NSGA-II's


@pytest.fixture
def tradeoff(small: Task) -> Tradeoff:
    return Tradeoff(small, np.linspace(90.0, 1.0, small.size), worst_accuracy=-10.0, worst_latency=100.0)


def searched(name: str, tradeoff: Tradeoff, seed: int) -> list[int]:
    """Rows that a peer asks for, three proposals out at a time, told in another order than asked."""
    peer = make_front_peer(name, tradeoff, seed)
    running = [peer.ask() for _ in range(3)]
    rows: list[int] = []
    while len(rows) < N_ASKED:
        proposal = running.pop(1)
        rows.append(tradeoff.task.row(proposal.params))
        peer.tell(proposal.number, Measurement(float(tradeoff.task.means[rows[-1]]), seconds=1.0))
        running.append(peer.ask())
    return rows


@pytest.mark.parametrize("name", ["random", "nsga2", "ours", "ours+graphs", "tpe", "gp"])
def test_a_peer_repeats_itself_and_another_seed_does_not(name: str, tradeoff: Tradeoff) -> None:
    first, again, other = (searched(name, tradeoff, seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_a_peer_is_told_the_accuracy_and_the_points_own_latency(tradeoff: Tradeoff) -> None:
    sampler = RandomSampler(0)
    peer = FrontPeer(tradeoff, sampler)
    first, second = peer.ask(), peer.ask()
    peer.tell(second.number, Measurement(0.25, seconds=1.0))
    peer.tell(first.number, Measurement(0.75, seconds=1.0))
    told = [(trial.values, trial.params) for trial in peer.study.trials]
    latencies = [tradeoff.latencies[tradeoff.task.row(proposal.params)] for proposal in (first, second)]
    assert told == [([0.75, latencies[0]], first.params), ([0.25, latencies[1]], second.params)]


def test_ours_is_told_the_reference_point_and_with_graphs_their_features(
    tradeoff: Tradeoff, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, object]] = []

    def made(name: str, seed: int, space: object, **options: object) -> BaseSampler:
        told.append({what: options[what] for what in ("reference_point", "features") if what in options})
        return RandomSampler(seed)

    def features(params: Params) -> list[float]:
        return [float(params["width"])]

    monkeypatch.setattr(front_peers, "sampler", made)
    described = replace(tradeoff, task=replace(tradeoff.task, features=features))
    for name in FRONT_PEERS:
        make_front_peer(name, described, seed=0)
    by_peer = {name: options for name, options in zip(FRONT_PEERS, told, strict=True) if options}
    point = (-10.0, 100.0)  # accuracy and latency, as the study's objectives
    assert by_peer == {
        "ours": {"reference_point": point},
        "ours+graphs": {"reference_point": point, "features": features},
    }


def test_a_peer_that_is_not_installed_says_so(tradeoff: Tradeoff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna_integration", None)
    with pytest.raises(PeerUnavailable, match=r"'botorch'.*optuna_integration"):
        make_front_peer("botorch", tradeoff, seed=0)


def test_an_unknown_peer_is_told_the_known_ones(tradeoff: Tradeoff) -> None:
    with pytest.raises(ValueError, match=r"Unknown peer 'tep'.*random, nsga2, ours"):
        make_front_peer("tep", tradeoff, seed=0)


def test_a_peer_s_version_is_that_of_the_code_that_proposes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {front_peer_version(name) for name in ("ours", "ours+graphs")} == {peer_version("ours")}
    installed = {"optuna": "5", "optuna-integration": "4", "botorch": "0.18"}
    monkeypatch.setattr(peers, "version", installed.__getitem__)
    assert {front_peer_version(name) for name in ("random", "nsga2", "tpe", "gp")} == {"optuna 5"}
    assert front_peer_version("botorch") == "optuna-integration 4, botorch 0.18"
