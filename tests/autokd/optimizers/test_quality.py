"""The sampler finds better optima than random search of the same length, in the median over seeds."""

import math
from statistics import median

import optuna
import pytest

from autokd.optimizers import HalvingPruner, sampler

SEEDS = range(3)


def branin(trial):
    """The Branin function minus its minimum."""
    x, y = trial.suggest_float("x", -5, 10), trial.suggest_float("y", 0, 15)
    bowl = (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2
    return bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10 - 0.397887


def mixed_sphere(trial):
    """Two floats, two integers and two categories; the minimum is 0."""
    floats = sum((trial.suggest_float(f"x{i}", -1, 1) - 0.3) ** 2 for i in range(2))
    ints = ((trial.suggest_int("n", 0, 20) - 14) / 10) ** 2
    ints += (math.log(trial.suggest_int("m", 1, 512, log=True) / 32) / 3) ** 2
    wrong = (trial.suggest_categorical("a", "pqr") != "q") + (trial.suggest_categorical("b", range(4)) != 3)
    return floats + ints + 0.5 * wrong


def climbing(trial):
    """The mixed sphere, approached from above over three rungs."""
    value = mixed_sphere(trial)
    for step in (1, 3, 9):
        trial.report(value + 1 / step, step)
        if step < 9 and trial.should_prune():
            raise optuna.TrialPruned
    return value


def best(objective, name, seed, n_trials):
    study = optuna.create_study(sampler=sampler(name, seed), pruner=HalvingPruner())
    study.optimize(objective, n_trials=n_trials)
    return study.best_value


@pytest.mark.slow  # 3 seeds of a few dozen fits each
@pytest.mark.parametrize(("objective", "n_trials"), [(branin, 40), (mixed_sphere, 50), (climbing, 50)])
def test_ten_times_closer_to_the_optimum_than_random_search(objective, n_trials) -> None:
    ours, theirs = (
        median(best(objective, name, seed, n_trials) for seed in SEEDS) for name in ("trust-region", "random")
    )
    assert ours < theirs / 10
