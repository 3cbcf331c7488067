import numpy as np
import pytest
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from autokd.optimizers.models.signal_to_noise import LARGE, SMALL, _log_likelihoods, signal_to_noise
from autokd.optimizers.space.conditions import Conditions
from autokd.optimizers.space.encoding import Encoding

DISTRIBUTIONS: dict[str, BaseDistribution] = {
    **{f"f{i}": FloatDistribution(0, 1) for i in range(4)},
    "i": IntDistribution(1, 5),
    "k": CategoricalDistribution(("a", "b", "c")),
}
ENCODING = Encoding.of(DISTRIBUTIONS)
CONDITIONS = Conditions(ENCODING, {})


def observations(n: int, r: int, ratio: float, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """Points, and values whose standard deviation over the space is `ratio` times the noise of a mean of `r`."""
    rng = np.random.default_rng(seed)
    points, slopes = ENCODING.sobol(0, n, seed), rng.normal(size=6) * (rng.random(6) < 0.7)
    slopes[0] += 0.5
    deviation = (ENCODING.sobol(0, 256, 0).numpy() @ slopes).std()
    signal = points.numpy() @ slopes * ratio / deviation / np.sqrt(r)
    return points, 0.9 + 0.01 * (signal[:, None] + rng.normal(size=(n, r)))


def share_flat(n: int, r: int, ratio: float, n_searches: int = 12) -> float:
    found = [signal_to_noise(*observations(n, r, ratio, seed), CONDITIONS) for seed in range(n_searches)]
    return float(np.mean([one is not None and one.is_flat for one in found]))


def test_the_likelihood_is_that_of_all_observations_with_their_full_covariance() -> None:
    rng = np.random.default_rng(0)
    root, values = rng.normal(size=(5, 5)), rng.normal(size=(5, 3))
    K, ratios = root @ root.T, np.array([0.0, 0.5, 4.0])
    H = np.eye(2)[[0, 0, 1, 1, 1]]  # two parts with means of their own
    direct = []
    for ratio in ratios:
        A = ratio**2 / 3 * np.kron(K, np.ones((3, 3))) + np.eye(15)
        inverse, y, columns = np.linalg.inv(A), values.reshape(-1), np.repeat(H, 3, axis=0)
        information = columns.T @ inverse @ columns
        P = inverse - inverse @ columns @ np.linalg.inv(information) @ columns.T @ inverse
        determinants = np.linalg.slogdet(A)[1] + np.linalg.slogdet(information)[1]
        direct.append(-determinants / 2 - 13 / 2 * np.log(y @ P @ y))
    found = _log_likelihoods(K, values, ratios, H)
    np.testing.assert_allclose(found - found[0], np.array(direct) - direct[0])


@pytest.mark.parametrize(("n", "r"), [(12, 2), (24, 1)])
def test_noise_alone_is_mostly_found_flat_and_clear_differences_hardly_ever(n: int, r: int) -> None:
    assert share_flat(n, r, ratio=0.0) >= 0.5
    assert share_flat(n, r, ratio=2.0) <= 0.1


def test_few_trials_of_one_student_are_not_enough() -> None:
    assert share_flat(8, 1, ratio=0.0, n_searches=10) == 0


def test_the_ratio_is_near_the_true_one_and_independent_of_scale_and_location() -> None:
    points, values = observations(40, 2, 4.0, seed=3)
    found = signal_to_noise(points, values, CONDITIONS)
    assert found is not None
    assert max(SMALL) < found.low <= 4.0 <= found.high
    assert found.ratio in LARGE
    again = signal_to_noise(points, 7 + 5 * values, CONDITIONS)
    assert again is not None
    assert again.evidence == pytest.approx(found.evidence)


def test_equal_values_say_nothing() -> None:
    assert signal_to_noise(ENCODING.sobol(0, 9, 0), np.full((9, 1), 0.1), CONDITIONS) is None


@pytest.mark.parametrize("is_between", [True, False])
def test_neither_differences_within_parts_nor_between_them_are_taken_for_noise(is_between: bool) -> None:
    column, flat = ENCODING.names.index("k"), []
    for seed in range(12):
        points, values = observations(24, 1, 0.0 if is_between else 3.0, seed)
        parts = points[:, column].numpy()
        values = values + 0.05 * parts[:, None] if is_between else values - _part_means(values, parts)
        found = signal_to_noise(points, values, CONDITIONS, dividing=["k"])
        flat.append(found is not None and found.is_flat)
    assert np.mean(flat) <= 0.1


def _part_means(values: np.ndarray, parts: np.ndarray) -> np.ndarray:
    return np.stack([values[parts == part].mean(axis=0) for part in parts])
