from collections import Counter

import numpy as np
import pytest
from ask_time_peers import NOISE, SamplerOptimiser, SmacOptimiser, history, make, observe, search_space
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler

from search_spaces.design.dimensions import contains


def test_the_space_has_ten_dimensions_of_all_kinds() -> None:
    kinds = Counter((type(d), getattr(d, "log", False)) for d in search_space().values())
    assert kinds == {
        (IntDistribution, False): 3,
        (FloatDistribution, False): 4,
        (FloatDistribution, True): 1,
        (CategoricalDistribution, False): 2,
    }


def test_finished_trials_are_points_of_the_space_and_differ() -> None:
    finished = history(20, np.random.default_rng(0))
    assert all(contains(d, params[name]) for params, _ in finished for name, d in search_space().items())
    assert len({tuple(params.values()) for params, _ in finished}) == 20


def test_the_value_is_a_squared_distance_with_noise() -> None:
    first = {
        name: d.choices[0] if isinstance(d, CategoricalDistribution) else d.low for name, d in search_space().items()
    }
    last = {
        name: d.choices[-1] if isinstance(d, CategoricalDistribution) else d.high for name, d in search_space().items()
    }
    rng = np.random.default_rng(0)
    for params, side in ((first, 0.3), (last, 0.7)):
        values = [observe(params, rng).value for _ in range(1000)]
        assert np.mean(values) == pytest.approx(-10 * side**2, abs=4 * NOISE / np.sqrt(1000))
        assert np.std(values) == pytest.approx(NOISE, rel=0.1)


def test_a_sampler_proposes_after_the_history_that_it_was_given() -> None:
    finished = history(12, np.random.default_rng(0))
    optimiser = SamplerOptimiser(RandomSampler(0), finished)
    optimiser.turn(np.random.default_rng(1))
    trials = optimiser.study.trials
    assert [(trial.params, trial.value) for trial in trials[:12]] == finished
    assert len(trials) == 13
    assert trials[12].state.is_finished()


@pytest.mark.parametrize("name", ["ours", "gp", "tpe"])
def test_installed_peers_propose(name: str) -> None:
    make(name, history(30, np.random.default_rng(0))).turn(np.random.default_rng(1))


def test_smac_proposes_by_its_model_after_the_history() -> None:
    pytest.importorskip("smac")
    optimiser = make("smac", history(30, np.random.default_rng(0)))
    optimiser.turn(np.random.default_rng(1))
    assert isinstance(optimiser, SmacOptimiser)
    told = optimiser.smac.runhistory
    assert told.finished == 31
    assert told.get_configs()[-1].origin.startswith("Acquisition")
