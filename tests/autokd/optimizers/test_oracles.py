"""Ours beside GPyTorch and BoTorch, whose values `tests/benchmarks/oracles.py` recorded in double precision.

Relative tolerances are 1e-9. Expected hypervolume improvements may also differ by 1e-12, since BoTorch, which does not
compute them in logarithms, takes differences of nearly equal numbers.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autokd.optimizers.expected_improvement import log_expected_improvement
from autokd.optimizers.hypervolume import boxes, hypervolume, log_expected_hypervolume_improvement
from autokd.optimizers.models.gaussian_process import GaussianProcess, KernelPrior, Prior

RECORDED = json.loads((Path(__file__).parents[2] / "data" / "botorch.json").read_text())
EXACT, ROUNDING = 1e-9, 1e-12

processes = pytest.mark.parametrize("recorded", RECORDED["processes"], ids=lambda recorded: recorded["kernel"])
fronts = pytest.mark.parametrize("recorded", RECORDED["fronts"], ids=lambda recorded: len(recorded["reference"]))


def array(values: Any) -> Any:
    return np.array(values, dtype=np.float64)


def ours(recorded: dict[str, Any]) -> GaussianProcess:
    prior = Prior(
        KernelPrior(is_matern=recorded["kernel"] == "matern"), np.array([False, False, True]), np.zeros(3, dtype=bool)
    )
    X, y, scales = (array(recorded[name]) for name in ("X", "y", "lengthscales"))
    return GaussianProcess.of(X, y, prior, scales, recorded["share"])


@processes
def test_the_posterior_is_that_of_gpytorch(recorded: dict[str, Any]) -> None:
    process, points = ours(recorded), array(recorded["points"])
    covariance = array(recorded["covariance"])
    assert process.variance == pytest.approx(recorded["variance"], rel=EXACT)
    np.testing.assert_allclose(process.mean(points), recorded["mean"], rtol=EXACT)
    np.testing.assert_allclose(process.deviation(points) ** 2, np.diag(covariance), rtol=EXACT)
    np.testing.assert_allclose(process.covariance(points), covariance, rtol=EXACT, atol=ROUNDING)


@processes
def test_conditioned_on_its_mean_it_is_gpytorchs_with_these_values_as_data(recorded: dict[str, Any]) -> None:
    process, points = ours(recorded).condition_on_mean(array(recorded["pending"])), array(recorded["points"])
    np.testing.assert_allclose(process.mean(points), recorded["conditioned_mean"], rtol=EXACT)
    np.testing.assert_allclose(process.deviation(points) ** 2, recorded["conditioned_variance"], rtol=EXACT)


def test_log_expected_improvement_is_that_of_botorch() -> None:
    recorded = RECORDED["improvement"]
    found = log_expected_improvement(array(recorded["mean"]), array(recorded["deviation"]), recorded["best"])
    np.testing.assert_allclose(found, recorded["log_values"], rtol=EXACT)


@fronts
def test_hypervolume_and_its_expected_improvement_are_those_of_botorch(recorded: dict[str, Any]) -> None:
    values, reference = array(recorded["values"]), array(recorded["reference"])
    assert hypervolume(values, reference) == pytest.approx(recorded["hypervolume"], rel=EXACT)
    found = log_expected_hypervolume_improvement(
        array(recorded["mean"]), array(recorded["deviation"]), *boxes(values, reference)
    )
    np.testing.assert_allclose(np.exp(found), recorded["expected_improvements"], rtol=EXACT, atol=ROUNDING)
