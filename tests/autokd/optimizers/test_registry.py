import subprocess
import sys
from functools import partial
from pathlib import Path

import optuna
import pytest
from broken_modules import FAILURES, write_broken

from autokd.optimizers import PRUNERS, SAMPLERS, HalvingPruner, OptimizerError, TrustRegionSampler, pruner, sampler


@pytest.mark.parametrize("name", SAMPLERS)
def test_each_name_makes_a_sampler(name) -> None:
    assert isinstance(sampler(name, seed=0), optuna.samplers.BaseSampler)


@pytest.mark.parametrize("name", PRUNERS)
def test_each_name_makes_a_pruner(name) -> None:
    assert isinstance(pruner(name), optuna.pruners.BasePruner)


def test_an_import_path_makes_a_sampler_or_pruner_of_ones_own() -> None:
    assert isinstance(sampler("optuna.samplers:QMCSampler", 0, scramble=False), optuna.samplers.QMCSampler)
    assert isinstance(pruner("optuna.pruners:ThresholdPruner", upper=1.0), optuna.pruners.ThresholdPruner)


def test_options_reach_the_constructor() -> None:
    space = {"x": optuna.distributions.FloatDistribution(0, 1)}
    made = sampler("trust-region", 3, space, n_startup_trials=7)
    assert isinstance(made, TrustRegionSampler)
    assert (made._seed, made._search_space, made._n_startup_trials) == (3, space, 7)
    assert isinstance(pruner("halving", reduction_factor=4), HalvingPruner)


@pytest.mark.parametrize("name", ["tpee", "no.such.module:Sampler", "optuna.samplers:NoSampler", ":x"])
def test_unknown_names_are_rejected(name) -> None:
    with pytest.raises(OptimizerError, match=name):
        sampler(name, 0)


@pytest.mark.parametrize("content", FAILURES)
def test_a_module_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    name = write_broken(tmp_path, content, monkeypatch)
    for make, kind in ((partial(sampler, seed=0), "sampler"), (pruner, "pruner")):
        with pytest.raises(OptimizerError, match=rf"The {kind} '{name}' cannot be imported: {FAILURES[content]}\.$"):
            make(name)
        with pytest.raises(OptimizerError, match=rf"The {kind} '\.x:Y' cannot be imported: TypeError"):
            make(".x:Y")


def test_the_error_lists_the_known_names() -> None:
    with pytest.raises(OptimizerError, match="trust-region, random, tpe, gp"):
        sampler("bayes", 0)
    with pytest.raises(OptimizerError, match="halving, median, none"):
        pruner("asha")


def test_wrong_options_and_wrong_types_are_rejected() -> None:
    with pytest.raises(OptimizerError, match="n_startup"):
        sampler("trust-region", 0, n_startup=3)
    with pytest.raises(OptimizerError, match="at least 1"):
        sampler("trust-region", 0, n_startup_trials=0)
    with pytest.raises(OptimizerError, match=r"'turbo', 'none', or in Python a dict .* but got 'trade'\.$"):
        sampler("trust-region", 0, rules="trade")
    with pytest.raises(OptimizerError, match="cannot be made with the options"):
        sampler("random", 0, name=1)
    with pytest.raises(OptimizerError, match="BasePruner"):
        pruner("builtins:dict")
    with pytest.raises(OptimizerError, match="BaseSampler"):
        sampler("builtins:dict", 0)


def test_a_new_sampler_for_each_trial_draws_different_values() -> None:
    def first_value(number):
        study = optuna.create_study(sampler=sampler("random", 0, trial_number=number))
        return study.ask().suggest_float("x", 0, 1)

    assert first_value(0) == first_value(0) != first_value(1)


def test_importing_the_package_imports_neither_torch_nor_optuna() -> None:
    code = "import sys, autokd.optimizers; sys.exit(bool({'torch', 'optuna', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
