from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from autokd.distillation.layer_similarity import METRICS, Chunks, linear_cka, mean_squared_cca, rbf_cka
from autokd.errors import InputError

Metric = Callable[[Chunks], Tensor]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def hsic_slowly(x: Tensor, y: Tensor) -> float:
    """Unbiased estimate of Song et al. 2012, in loops."""
    n = len(x)
    k = [[0.0 if i == j else float(x[i] @ x[j]) for j in range(n)] for i in range(n)]
    m = [[0.0 if i == j else float(y[i] @ y[j]) for j in range(n)] for i in range(n)]
    trace = sum(k[i][j] * m[j][i] for i in range(n) for j in range(n))
    ends = sum(map(sum, k)) * sum(map(sum, m)) / ((n - 1) * (n - 2))
    middle = sum(k[i][j] * m[j][q] for i in range(n) for j in range(n) for q in range(n))
    return (trace + ends - 2 / (n - 2) * middle) / (n * (n - 3))


def test_similarities_equal_the_estimate_in_loops() -> None:
    chunks = [(drawn(n, 3, seed=n), drawn(n, 4, seed=n + 1), drawn(n, 2, seed=n + 2)) for n in (6, 5)]
    expected = torch.eye(3, dtype=torch.float64)
    sums = [[sum(hsic_slowly(c[i], c[j]) for c in chunks) for j in range(3)] for i in range(3)]
    for i in range(3):
        for j in range(3):
            expected[i, j] = sums[i][j] / (sums[i][i] * sums[j][j]) ** 0.5
    torch.testing.assert_close(linear_cka(chunks), expected, rtol=0, atol=1e-9)


def test_many_samples_have_the_plain_similarity() -> None:
    x = drawn(400, 3)
    y = x @ drawn(3, 5, seed=1) + drawn(400, 5, seed=2)
    centred = [outputs - outputs.mean(0) for outputs in (x, y)]
    own = [float((outputs.T @ outputs).norm()) for outputs in centred]
    plain = float((centred[0].T @ centred[1]).square().sum()) / (own[0] * own[1])
    assert float(linear_cka([(x, y)])[0, 1]) == pytest.approx(plain, abs=0.01)
    split = zip(x.split(20), y.split(20), strict=True)
    assert float(linear_cka(split)[0, 1]) == pytest.approx(plain, abs=0.05)


def test_similarities_ignore_shift_rotation_and_scale() -> None:
    x, y = drawn(12, 4), drawn(12, 3, seed=1)
    rotation = torch.linalg.qr(drawn(4, 4, seed=2)).Q
    found = linear_cka([(x, y, 5 * x @ rotation + 100)])
    torch.testing.assert_close(found[0, 1], found[2, 1])
    assert float(found[0, 2]) == pytest.approx(1)


def test_unrelated_layers_wider_than_the_chunk_are_not_similar() -> None:
    chunks = [(drawn(32, 200, seed=2 * s), drawn(32, 200, seed=2 * s + 1)) for s in range(20)]
    assert abs(float(linear_cka(chunks)[0, 1])) < 0.02


def test_a_constant_layer_is_similar_only_to_itself() -> None:
    found = linear_cka([(drawn(8, 3), torch.full((8, 2), 3.0), drawn(8, 3, seed=1))])
    assert found[1].tolist() == [0, 1, 0]
    assert found[:, 1].tolist() == [0, 1, 0]


def test_chunks_of_less_than_four_samples_are_ignored() -> None:
    whole = drawn(9, 3), drawn(9, 2, seed=1)
    rest = drawn(3, 3, seed=2), drawn(3, 2, seed=3)
    torch.testing.assert_close(linear_cka([whole, rest]), linear_cka([whole]))
    with pytest.raises(InputError, match="at least 4 samples"):
        linear_cka([rest])


def correlations_slowly(x: Tensor, y: Tensor) -> float:
    """Mean squared canonical correlation from orthonormal bases of all samples."""
    q_x, q_y = (torch.linalg.qr(outputs - outputs.mean(0)).Q for outputs in (x, y))
    return float((q_y.T @ q_x).square().sum()) / min(x.shape[1], y.shape[1])


def test_canonical_correlations_in_one_pass_equal_those_from_all_samples() -> None:
    x = drawn(60, 4) + 1000
    y = 5 * x @ drawn(4, 6, seed=1) + drawn(60, 6, seed=2)
    found = mean_squared_cca(zip(x.split(16), y.split(16), strict=True))
    assert float(found[0, 1]) == pytest.approx(correlations_slowly(x, y), abs=1e-9)
    assert found.diagonal().tolist() == [1, 1]


def related() -> tuple[Tensor, Tensor, Tensor]:
    """Outputs of a layer, of another one that is related, and an invertible map of the first that is no rotation."""
    x = drawn(200, 4)
    return x, x @ drawn(4, 3, seed=1) + drawn(200, 3, seed=2), torch.diag(torch.tensor([9.0, 1, 1, 0.1])).double()


@pytest.mark.parametrize("metric", [linear_cka, mean_squared_cca, rbf_cka])
def test_every_metric_ignores_shift_rotation_and_scale(metric: Metric) -> None:
    x, y, _ = related()
    rotation = torch.linalg.qr(drawn(4, 4, seed=3)).Q
    found = metric([(x, y, 5 * x @ rotation + 100)])
    torch.testing.assert_close(found[0, 1], found[2, 1], rtol=0, atol=1e-6)
    assert float(found[0, 2]) == pytest.approx(1, abs=1e-6)


def test_cca_ignores_any_invertible_map_and_cka_does_not() -> None:
    x, y, stretched = related()
    layers = [(x, y, x @ stretched)]
    cca, cka, rbf = mean_squared_cca(layers), linear_cka(layers), rbf_cka(layers)
    assert float(cca[0, 2]) == pytest.approx(1, abs=1e-9)
    assert float(cca[0, 1] - cca[2, 1]) == pytest.approx(0, abs=1e-9)
    for found in (cka, rbf):
        assert float(found[0, 2]) < 0.9
        assert abs(float(found[0, 1] - found[2, 1])) > 0.05


def test_axes_without_variance_do_not_count() -> None:
    x, y, _ = related()
    padded = torch.cat([x, torch.full((200, 3), 7.0), x[:, :1]], 1)
    found = mean_squared_cca([(x, y, padded)])
    assert float(found[0, 2]) == pytest.approx(1, abs=1e-9)
    assert float(found[2, 1]) == pytest.approx(float(found[0, 1]), abs=1e-9)


def test_more_channels_than_the_memory_holds_are_refused() -> None:
    with pytest.raises(InputError, match="compares at most 8,192 channels, but the layers have 9,000 in total"):
        mean_squared_cca([(torch.zeros(4, 4000), torch.zeros(4, 5000))])


def gaussian_slowly(x: Tensor) -> list[list[float]]:
    distances = [[float((a - b).norm()) for b in x] for a in x]
    between = sorted(distances[i][j] for i in range(len(x)) for j in range(i))
    width = between[(len(between) - 1) // 2]
    return [[float(torch.tensor(-(d**2) / (2 * width**2)).exp()) for d in row] for row in distances]


def test_the_gaussian_similarity_equals_the_estimate_in_loops() -> None:
    x, y = drawn(7, 3), drawn(7, 2, seed=1)
    n, k, m = 7, gaussian_slowly(x), gaussian_slowly(y)

    def hsic(k: list[list[float]], m: list[list[float]]) -> float:
        k, m = ([[row[j] if i != j else 0.0 for j in range(n)] for i, row in enumerate(g)] for g in (k, m))
        trace = sum(k[i][j] * m[j][i] for i in range(n) for j in range(n))
        ends = sum(map(sum, k)) * sum(map(sum, m)) / ((n - 1) * (n - 2))
        middle = sum(k[i][j] * m[j][q] for i in range(n) for j in range(n) for q in range(n))
        return (trace + ends - 2 / (n - 2) * middle) / (n * (n - 3))

    expected = hsic(k, m) / (hsic(k, k) * hsic(m, m)) ** 0.5
    assert float(rbf_cka([(x, y)])[0, 1]) == pytest.approx(expected, abs=1e-5)


def test_the_gaussian_similarity_uses_the_first_thousand_samples() -> None:
    x, y, _ = related()
    chunks = [(x[:100].repeat(6, 1) + drawn(600, 4, seed=s), y[:100].repeat(6, 1)) for s in range(3)]
    first = [(chunks[0][0], chunks[0][1]), (chunks[1][0][:400], chunks[1][1][:400])]
    torch.testing.assert_close(rbf_cka(iter(chunks)), rbf_cka(first))


@pytest.mark.parametrize("metric", METRICS.values())
def test_a_layer_with_constant_outputs_is_similar_only_to_itself(metric: Metric) -> None:
    found = metric([(drawn(8, 3), torch.full((8, 2), 3.0), drawn(8, 3, seed=1))])
    assert found[1].tolist() == [0, 1, 0]
    assert found[:, 1].tolist() == [0, 1, 0]
