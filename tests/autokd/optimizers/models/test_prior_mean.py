from itertools import permutations

import numpy as np
import optuna
import pytest
import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import create_trial
from scipy.integrate import quad
from scipy.stats import kendalltau

from autokd.optimizers.earlier import EarlierStudy, EarlierTask
from autokd.optimizers.models.prior_mean import Memory, Relation, _EarlierModel, concordance, relation
from autokd.optimizers.models.surrogate import TAILS
from autokd.optimizers.space.encoding import Encoding

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
ENCODING = Encoding.of(SPACE)


def bowl(points):
    return -(points[:, 0] - 0.3).square() - (points[:, 1] - 0.6).square()


def memory(*functions, n=30):
    """The memory of studies of these functions."""
    tasks = []
    for seed, function in enumerate(functions):
        study = optuna.create_study(direction="maximize")
        points = ENCODING.sobol(0, n, seed)
        for row, value in zip(points.tolist(), function(points).tolist(), strict=True):
            study.add_trial(create_trial(params=ENCODING.decode(row), distributions=SPACE, value=value))
        task = EarlierTask.of(EarlierStudy.of(study), ENCODING, 1)
        assert task is not None
        tasks.append(task)
    return Memory(tasks, ENCODING.categories)


def test_without_two_observations_a_task_is_as_likely_related_as_not() -> None:
    assert relation(0.5, 0) == relation(1.0, 1) == Relation(0.5, 0.25)


@pytest.mark.parametrize(("c", "n"), [(1.0, 2), (0.0, 2), (0.7, 8), (0.55, 40)])
def test_the_relation_is_the_posterior_by_numerical_integration(c, n) -> None:
    N = 9 * n * (n - 1) / (4 * n + 10)

    def likelihood(rho):
        right = 0.5 + np.arcsin(rho) / np.pi
        return right ** (c * N) * (1 - right) ** ((1 - c) * N)

    related, first = quad(likelihood, 0, 1)[0], quad(lambda rho: rho * likelihood(rho), 0, 1)[0]
    total = related + likelihood(0)
    assert relation(c, n) == pytest.approx((related / total, first / total), rel=1e-2)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_number_of_independent_pairs_gives_the_share_its_variance_over_all_orders(n) -> None:
    orders = [np.array(order, dtype=float) for order in permutations(range(n))]
    shares = [concordance(order, np.arange(n, dtype=float), np.zeros(n))[0] for order in orders]
    assert np.var(shares) == pytest.approx((4 * n + 10) / (9 * n * (n - 1)) / 4)


def test_the_share_of_concordant_pairs_follows_from_kendalls_tau() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 12))
    assert concordance(first, second, np.zeros(12)) == (pytest.approx((1 + kendalltau(first, second)[0]) / 2), 12)


def test_only_observations_at_the_same_step_are_compared() -> None:
    scores, steps = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([0.0, 0.0, 1.0, 1.0, 1.0])
    values = np.array([12.0, 11.0, 1.0, 2.0, 2.0])  # one pair wrong, two right, one tie, and six that do not count
    assert concordance(scores, values, steps) == (2.5 / 4, 3)


def test_a_related_task_predicts_this_one_and_the_others_do_not_dilute_it() -> None:
    X, points = ENCODING.sobol(0, 8, 7), ENCODING.sobol(0, 50, 8)
    useless = [
        lambda points, k=k: torch.sin(9 * k * points[:, 0] + k) - torch.cos(7 * k * points[:, 1]) for k in range(1, 6)
    ]
    prior = memory(bowl, *useless).prior_mean(X, bowl(X), 0, TAILS)
    assert prior is not None
    assert np.corrcoef(prior(points), bowl(points))[0, 1] > 0.9
    assert float(prior(X).mean()) == pytest.approx(0, abs=1e-9)


def test_a_task_that_ranks_the_observations_wrongly_does_not_count() -> None:
    X = ENCODING.sobol(0, 8, 7)
    assert memory(lambda points: -bowl(points)).prior_mean(X, bowl(X), 0, TAILS) is None


def test_the_prior_means_spread_is_the_expected_correlation() -> None:
    X = ENCODING.sobol(0, 8, 7)
    prior = memory(bowl).prior_mean(X, bowl(X), 0, TAILS)
    assert prior is not None
    assert float(prior(X).std()) == pytest.approx(relation(1.0, 8).correlation, abs=0.05)


def test_merits_before_any_observation_are_what_the_earlier_task_says() -> None:
    points = ENCODING.sobol(0, 50, 8)
    merits = memory(bowl).merits(torch.empty(0, 2, dtype=torch.float64), torch.empty(0, 1, dtype=torch.float64), points)
    assert merits is not None
    assert kendalltau(merits, bowl(points))[0] > 0.9


def test_scores_that_differ_by_rounding_make_no_prior_mean(monkeypatch) -> None:
    X = ENCODING.sobol(0, 8, 7)
    monkeypatch.setattr(_EarlierModel, "scores", lambda model, points: 0.3 + 1e-15 * bowl(points).numpy())
    assert memory(bowl).prior_mean(X, bowl(X), 0, TAILS) is None
