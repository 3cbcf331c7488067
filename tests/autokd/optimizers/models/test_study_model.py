"""Samples of a study's model, by their moments."""

import math

import numpy as np
import optuna
import pytest
import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from autokd.optimizers.errors import OptimizerError
from autokd.optimizers.models.posterior import posterior
from autokd.optimizers.models.study_model import StudyModel, _normal

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1)}


@pytest.fixture
def study() -> optuna.Study:
    """A wave with some noise, and a point that was tried twice."""
    study = optuna.create_study(direction="maximize")
    for k in range(9):
        x = min(k, 7) / 8
        value = math.sin(5 * x) + 0.3 * (-1) ** k
        study.add_trial(create_trial(value=value, params={"x": x}, distributions=SPACE))
    return study


def test_normal_samples_have_the_given_moments_and_are_equal_at_equal_points() -> None:
    mean = torch.tensor([1.0, 1.0, -2.0], dtype=torch.float64)
    covariance = torch.tensor([[1.0, 1.0, 0.5], [1.0, 1.0, 0.5], [0.5, 0.5, 2.0]], dtype=torch.float64)
    samples = _normal(mean, covariance, 20_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(samples[:, 0], samples[:, 1], rtol=0, atol=1e-6)
    torch.testing.assert_close(samples.mean(0), mean, rtol=0, atol=0.05)
    torch.testing.assert_close(samples.T.cov(), covariance, rtol=0, atol=0.05)


def test_samples_have_the_moments_of_the_mixture_over_the_noise(study) -> None:
    model = StudyModel.fit(study, SPACE)
    samples, noises = model.samples(model.codes[:4], 40_000, torch.Generator().manual_seed(0))
    levels = model.surrogate.noise_levels
    means = torch.stack([level.joint(model.codes[:4])[0] for _, level in levels])
    variances = torch.stack([level.joint(model.codes[:4])[1].diagonal() for _, level in levels])
    weights = torch.tensor([probability for probability, _ in levels], dtype=torch.float64)
    expected = weights @ means
    torch.testing.assert_close(samples.mean(0), expected, rtol=0, atol=0.02)
    torch.testing.assert_close(samples.var(0), weights @ (variances + means**2) - expected**2, rtol=0.05, atol=0.01)
    assert float(noises.mean()) == pytest.approx(sum(p * level.noise**2 for p, level in levels), rel=0.1)


def test_only_observations_of_the_last_step_count() -> None:
    study = optuna.create_study(direction="minimize")
    for x, reports, state in (
        (0.2, {1: 4.0, 3: 2.0}, TrialState.COMPLETE),
        (0.2, {1: 3.0, 3: 1.0}, TrialState.COMPLETE),
        (0.7, {1: 5.0}, TrialState.PRUNED),
    ):
        value = reports[3] if state == TrialState.COMPLETE else None
        study.add_trial(
            create_trial(
                state=state, value=value, params={"x": x}, distributions=SPACE, intermediate_values=dict(reports)
            )
        )
    model = StudyModel.fit(study, SPACE)
    counts, scores = model.observed(model.codes[1:])
    assert counts.tolist() == [2.0, 0.0]
    expected = model.surrogate.transform.score(-torch.tensor([2.0, 1.0], dtype=torch.float64).numpy()).mean()
    assert scores.tolist() == pytest.approx([expected, 0.0])


def test_of_many_observations_the_last_one_of_each_trial_and_some_of_the_others_are_kept() -> None:
    study = optuna.create_study(direction="maximize")
    for k in range(12):
        steps = {1: 0.1 * k, 3: 0.2 * k} if k % 3 else {1: 0.1 * k, 3: 0.2 * k, 9: 0.3 * k}
        study.add_trial(
            create_trial(
                state=TrialState.PRUNED, params={"x": k / 12}, distributions=SPACE, intermediate_values=steps, value=0.1
            )
        )
    whole, some, few = (StudyModel.fit(study, SPACE, most=most).history for most in (None, 20, 3))
    rows = [tuple(row) for row in torch.cat([whole.X, whole.Y], dim=1).tolist()]
    kept = [tuple(row) for row in torch.cat([some.X, some.Y], dim=1).tolist()]
    assert (len(whole.X), len(some.X), len(few.X)) == (28, 20, 3)
    assert [row for row in rows if row in kept] == kept  # in their order
    last = {row[0]: row for row in rows}  # of each point, and so of each trial
    assert set(last.values()) < set(kept)
    assert {tuple(row) for row in torch.cat([few.X, few.Y], dim=1).tolist()} < set(last.values())
    assert len(StudyModel.fit(study, SPACE, most=28).history.X) == 28


def lucky(seed: int) -> tuple[optuna.Study, np.ndarray]:
    """Ten trials that are worth nearly the same, and what they are worth; their noise has a deviation of 0.3."""
    rng = np.random.default_rng(seed)
    x = rng.random((10, 4))
    worths = 92 + 0.1 * np.sin(3 * x).sum(axis=1)
    space: dict[str, BaseDistribution] = {f"x{k}": FloatDistribution(0, 1) for k in range(4)}
    study = optuna.create_study(direction="maximize")
    for point, value in zip(x.tolist(), worths + 0.3 * rng.standard_normal(10), strict=True):
        params = {f"x{k}": each for k, each in enumerate(point)}
        study.add_trial(create_trial(value=float(value), params=params, distributions=space))
    return study, worths


def test_a_model_that_knows_the_noise_is_not_sure_of_a_lucky_trial() -> None:
    within, shares = {}, {}
    for noise in (None, 0.3):
        inside, best = [], []
        for seed in range(12):
            study, worths = lucky(seed)
            model = StudyModel.fit(study, study.trials[0].distributions, noise=noise)
            found = posterior(study, {}, range(10), 1000, seed=0, model=model)
            chosen = int(np.argmax(found.mean))
            if noise:
                assert chosen == int(np.argmax(found.probability_best))  # the winner is the most probable one
            inside.append(found.low[chosen] <= worths[chosen] <= found.high[chosen])
            best.append(found.probability_best[chosen])
        within[noise], shares[noise] = np.mean(inside), np.mean(best)
    assert within[None] < 0.5 < 0.9 <= within[0.3]
    assert shares[None] > 0.8
    assert shares[0.3] < 0.6


def test_what_is_known_of_the_noise_has_the_unit_of_the_values(study) -> None:
    model = StudyModel.fit(study, SPACE, noise=0.3)
    assert model.surrogate.noise / model.surrogate.transform.slope == pytest.approx(0.3, rel=0.5)
    thousandth = optuna.create_study(direction="maximize")
    for trial in study.trials:
        thousandth.add_trial(create_trial(value=trial.value / 1000, params=trial.params, distributions=SPACE))
    rescaled = StudyModel.fit(thousandth, SPACE, noise=0.0003)
    assert rescaled.surrogate.noise == pytest.approx(model.surrogate.noise)


def test_samples_have_the_noise_that_is_known_however_small_it_is() -> None:
    study = optuna.create_study(direction="maximize")
    for x in np.linspace(0, 1, 20).tolist():
        study.add_trial(create_trial(value=math.sin(5 * x), params={"x": x}, distributions=SPACE))
    for noise in (1e-3, 1e-2):
        model = StudyModel.fit(study, SPACE, noise=noise)
        _, variances = model.samples(model.codes, 500, torch.Generator().manual_seed(0))
        known = math.log(noise * model.surrogate.transform.slope)
        assert variances.mean().sqrt().log() == pytest.approx(known, abs=math.log(2))


def test_a_noise_of_0_is_unknown_and_a_negative_one_is_refused() -> None:
    study, _ = lucky(0)
    space = study.trials[0].distributions
    unknown, none = (StudyModel.fit(study, space, noise=noise) for noise in (None, 0.0))
    assert none.noise is None
    assert torch.equal(none.surrogate.mean(none.codes), unknown.surrogate.mean(unknown.codes))
    for noise in (-0.1, math.nan, math.inf):
        with pytest.raises(OptimizerError, match=r"^`noise` must be finite and at least 0, but got "):
            StudyModel.fit(study, space, noise=noise)
