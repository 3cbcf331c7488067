"""Every registered sampler passes the conformance suite."""

import pytest
from optuna.samplers import BaseSampler

from autokd.optimizers import SAMPLERS, sampler
from autokd.testing.optimizers import SamplerConformance


class TestTrustRegion(SamplerConformance):
    def make(self, seed: int, trial_number: int) -> BaseSampler:
        return sampler("trust-region", seed, trial_number=trial_number, n_startup_trials=3)


@pytest.mark.slow  # BoTorch fits a model for each proposal
class TestBoTorch(SamplerConformance):
    def make(self, seed: int, trial_number: int) -> BaseSampler:
        return sampler("trust-region", seed, trial_number=trial_number, n_startup_trials=3, model="botorch")


class TestRandom(SamplerConformance):
    def make(self, seed: int, trial_number: int) -> BaseSampler:
        return sampler("random", seed, trial_number=trial_number)


class TestTpe(SamplerConformance):
    def make(self, seed: int, trial_number: int) -> BaseSampler:
        return sampler("tpe", seed, trial_number=trial_number, n_startup_trials=3)


class TestGp(SamplerConformance):
    def make(self, seed: int, trial_number: int) -> BaseSampler:
        return sampler("gp", seed, trial_number=trial_number, n_startup_trials=3)


def test_each_registered_sampler_is_covered() -> None:
    assert set(SAMPLERS) == {"trust-region", "random", "tpe", "gp"}
