import math

import optuna
import pytest
import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import create_trial

from autokd.optimizers.models.posterior import RHO, SHIFT, SLOPE, _worths, calibrated, posterior
from autokd.optimizers.models.study_model import StudyModel
from autokd.optimizers.models.surrogate import Surrogate

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1)}


def study_of(values, direction):
    study = optuna.create_study(direction=direction)
    for x, value in values:
        study.add_trial(create_trial(value=value, params={"x": x}, distributions=SPACE))
    return study


def test_the_posterior_has_the_unit_and_direction_of_the_values() -> None:
    values = [(0.1, 3.0), (0.5, 1.0), (0.9, 2.0)]
    smaller = posterior(study_of(values, "minimize"), SPACE, [0, 1, 2], 500, seed=0)
    larger = posterior(study_of([(x, -v) for x, v in values], "maximize"), SPACE, [0, 1, 2], 500, seed=0)
    assert smaller.mean == pytest.approx(tuple(-m for m in larger.mean))
    assert smaller.deviation == larger.deviation
    assert smaller.low == pytest.approx(tuple(-h for h in larger.high))
    assert all(low < mean < high for low, mean, high in zip(larger.low, larger.mean, larger.high, strict=True))
    assert smaller.probability_best == larger.probability_best
    assert sum(smaller.probability_best) == pytest.approx(1)
    assert max(range(3), key=smaller.probability_best.__getitem__) == 1


class Given:
    """Stub of a model with a known joint normal posterior, of points that were never observed at the last step."""

    def __init__(self, mean, covariance, noise=0.0):
        self.mean = torch.tensor(mean, dtype=torch.float64)
        self.covariance = torch.tensor(covariance, dtype=torch.float64)
        self.noise = noise

    @property
    def noise_levels(self):
        return [(1.0, self)]

    def value(self, scores):
        return scores

    def joint(self, points):
        assert len(points) == len(self.mean)
        return self.mean, self.covariance


def posterior_of(given, monkeypatch, direction="maximize", seed=0, **options):
    monkeypatch.setattr(Surrogate, "fit", lambda *args, **options: given)
    monkeypatch.setattr(StudyModel, "observed", lambda model, points: torch.zeros(2, len(points), dtype=torch.float64))
    points = [(0.1 + 0.2 * k, float(k)) for k in range(len(given.mean))]
    return posterior(study_of(points, direction), SPACE, list(range(len(points))), 40_000, seed, **options)


@pytest.mark.parametrize(
    ("mean", "covariance"),
    [
        ([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]]),
        ([0.5, 0.0], [[1.0, 0.0], [0.0, 1.0]]),
        ([0.5, 0.0], [[1.0, 0.9], [0.9, 1.0]]),
        ([-1.0, 0.3], [[4.0, -0.5], [-0.5, 0.25]]),
    ],
)
def test_the_probability_of_two_points_is_that_of_their_difference(mean, covariance, monkeypatch) -> None:
    estimates = posterior_of(Given(mean, covariance), monkeypatch)
    spread = math.sqrt(covariance[0][0] + covariance[1][1] - 2 * covariance[0][1])
    first = (1 + math.erf((mean[0] - mean[1]) / spread / math.sqrt(2))) / 2
    expected = calibrated(torch.tensor([first, 1 - first]), int(mean[1] > mean[0]))
    assert estimates.probability_best == pytest.approx(expected.tolist(), abs=0.01)  # four standard errors
    assert sum(estimates.probability_best) == pytest.approx(1)
    assert estimates.mean == tuple(mean)
    assert estimates.deviation == pytest.approx((covariance[0][0] ** 0.5, covariance[1][1] ** 0.5))


def test_the_probability_of_the_chosen_point_is_calibrated_and_the_others_share_the_rest() -> None:
    found = calibrated(torch.tensor([0.2, 0.6, 0.1, 0.1], dtype=torch.float64), 1)
    its_own = 1 / (1 + math.exp(-SHIFT - SLOPE * math.log(0.6 / 0.4)))
    assert found.tolist() == pytest.approx([(1 - its_own) / 2, its_own, (1 - its_own) / 4, (1 - its_own) / 4])
    certain = calibrated(torch.tensor([0.0, 1.0, 0.0]), 1)
    assert 0.5 < certain[1] < 1
    assert certain[0] == certain[2] == pytest.approx((1 - float(certain[1])) / 2)


def test_the_best_of_those_that_are_eligible_is_chosen(monkeypatch) -> None:
    given = Given([0.0] * 5, torch.eye(5).tolist())
    for eligible, chosen in ((None, 0), ([3], 3)):
        estimates = posterior_of(given, monkeypatch, eligible=eligible)
        expected = calibrated(torch.full((5,), 0.2), chosen)
        assert estimates.probability_best == pytest.approx(expected.tolist(), abs=0.01)


def test_trials_of_one_point_share_its_probability() -> None:
    estimates = posterior(study_of([(0.2, 0.5), (0.8, 0.6), (0.8, 0.7)], "maximize"), SPACE, [0, 1, 2], 500, seed=0)
    assert estimates.probability_best[1] == estimates.probability_best[2]
    assert sum(estimates.probability_best[:2]) == pytest.approx(1)


@pytest.mark.parametrize("averaged", [1, 4])
def test_nine_of_ten_single_observations_lie_in_the_interval(averaged, monkeypatch) -> None:
    estimates = posterior_of(Given([1.0, -2.0], [[0.09, 0.0], [0.0, 1.0]], noise=0.2), monkeypatch, averaged=averaged)
    half = [1.6449 * math.sqrt(variance + averaged * 0.04) for variance in (0.09, 1.0)]
    assert estimates.low == pytest.approx((1.0 - half[0], -2.0 - half[1]), abs=0.05)
    assert estimates.high == pytest.approx((1.0 + half[0], -2.0 + half[1]), abs=0.05)


def test_what_is_a_points_own_follows_from_its_observations_by_regression() -> None:
    """Brute force: draw what is the point's own and three observations' noise, and regress the one on the other."""
    generator, n, noise = torch.Generator().manual_seed(0), 200_000, 0.49
    own = (RHO * noise) ** 0.5 * torch.randn(n, generator=generator, dtype=torch.float64)
    luck = ((1 - RHO) * noise) ** 0.5 * torch.randn(n, 3, generator=generator, dtype=torch.float64)
    seen = own + luck.mean(dim=1)
    slope = (own @ seen) / (seen @ seen)
    zero, noises = torch.zeros(n, 1, dtype=torch.float64), torch.full((n,), noise, dtype=torch.float64)
    found = _worths(zero, noises, torch.tensor([3.0]), torch.tensor([2.0], dtype=torch.float64), generator)
    assert float(found.mean()) == pytest.approx(2 * float(slope), abs=0.01)
    assert float(found.std()) == pytest.approx(float((own - slope * seen).std()), abs=0.005)
    never = _worths(zero, noises, torch.tensor([0.0]), torch.tensor([0.0], dtype=torch.float64), generator)
    assert float(never.std()) == pytest.approx(float(own.std()), abs=0.005)


def test_the_same_trials_and_seed_give_the_same_posterior(monkeypatch) -> None:
    given = Given([0.1, 0.0], [[1.0, 0.2], [0.2, 1.0]])
    first, again, other = (posterior_of(given, monkeypatch, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.probability_best != other.probability_best


def test_a_single_point_is_certainly_the_best() -> None:
    estimates = posterior(study_of([(0.2, 0.5), (0.8, 0.6)], "maximize"), SPACE, [1], 100, seed=0)
    assert estimates.probability_best == (1.0,)


def test_features_reduce_the_uncertainty_where_little_was_observed() -> None:
    """The value is the distance to the nearer end, which is the feature."""
    values = [(x, float(min(x, 1 - x))) for x in (0.0, 0.1, 0.2, 0.3, 0.4, 0.95)]
    informed = posterior(
        study_of(values, "maximize"),
        SPACE,
        range(6),
        10,
        seed=0,
        features=lambda params: [min(params["x"], 1 - params["x"])],
    )
    blind = posterior(study_of(values, "maximize"), SPACE, range(6), 10, seed=0)
    assert informed.deviation[5] < 0.7 * blind.deviation[5]
