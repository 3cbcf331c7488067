import math

import pytest
import torch
from torch import Tensor, nn

from autokd.distillation import Outputs
from autokd.distillation.maps import (
    Projection,
    convolution,
    embeddings,
    lifted,
    pairs,
    pooled,
    same_size,
    unit,
)
from autokd.errors import InputError

LOGITS = torch.zeros(3, 5)


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def with_features(*channels: int) -> Outputs:
    return Outputs(LOGITS, features=tuple(drawn(3, n, 4, 4) for n in channels))


def channels(chosen: list[tuple[Tensor, Tensor]]) -> list[tuple[int, int]]:
    return [(own.shape[1], other.shape[1]) for own, other in chosen]


def window_mean_slowly(row: list[float], size: int) -> list[float]:
    windows = [row[k * len(row) // size : -(-(k + 1) * len(row) // size)] for k in range(size)]
    return [sum(window) / len(window) for window in windows]


def test_maps_are_paired_from_the_deepest() -> None:
    assert channels(pairs(with_features(1, 2), with_features(10, 20, 30))) == [(1, 20), (2, 30)]
    assert channels(pairs(with_features(1, 2, 3), with_features(10))) == [(3, 10)]


@pytest.mark.parametrize(("n", "middle"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)], ids=lambda value: str(value))
def test_the_middle_pair_is_the_one_at_half_the_number_of_pairs(n: int, middle: int) -> None:
    outputs = with_features(*range(1, n + 1))
    assert channels(pairs(outputs, outputs, "middle")) == [(middle + 1, middle + 1)]
    assert channels(pairs(outputs, outputs, "last")) == [(n, n)]
    assert len(pairs(outputs, outputs, "all")) == n


@pytest.mark.parametrize("channels", [(), (1,)])
def test_networks_without_maps_are_rejected(channels: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=f"but got {len(channels)} from the student and 0 from the teacher"):
        pairs(with_features(*channels), with_features())


def test_maps_and_embeddings_are_at_least_float32() -> None:
    low = Outputs(LOGITS, LOGITS.bfloat16(), (LOGITS.bfloat16(),))
    high = Outputs(LOGITS, LOGITS.double(), (LOGITS.double(),))
    assert [tensor.dtype for tensor in pairs(low, high)[0]] == [torch.float32, torch.float64]
    assert [tensor.dtype for tensor in embeddings(low, high)] == [torch.float32, torch.float64]


@pytest.mark.parametrize("lacking", ["student", "teacher"])
def test_a_network_without_an_embedding_is_named(lacking: str) -> None:
    bare, whole = Outputs(LOGITS), Outputs(LOGITS, LOGITS)
    with pytest.raises(InputError, match=f"compares embeddings, but the {lacking} has none"):
        embeddings(*((bare, whole) if lacking == "student" else (whole, bare)))


@pytest.mark.parametrize(("length", "size"), [(6, 3), (7, 3), (5, 4), (4, 1)])
def test_pooling_a_signal_is_the_mean_over_windows(length: int, size: int) -> None:
    signal = drawn(2, 3, length)
    expected = [[window_mean_slowly(row, size) for row in sample] for sample in signal.tolist()]
    torch.testing.assert_close(pooled(signal, (size,)), torch.tensor(expected, dtype=torch.float64))


def test_pooling_an_image_pools_its_rows_and_columns() -> None:
    image = drawn(2, 3, 5, 7)
    rows = pooled(image.flatten(0, 2).unsqueeze(1), (3,)).reshape(2, 3, 5, 3)
    columns = pooled(rows.mT.flatten(0, 2).unsqueeze(1), (2,)).reshape(2, 3, 3, 2).mT
    torch.testing.assert_close(pooled(image, (2, 3)), columns)


def test_each_map_is_pooled_along_the_axes_where_it_is_larger() -> None:
    student, teacher = drawn(2, 3, 8, 4), drawn(2, 5, 4, 6)
    own, other = same_size(student, teacher)
    assert own.shape == (2, 3, 4, 4)
    assert other.shape == (2, 5, 4, 4)
    torch.testing.assert_close(own, student.unflatten(2, (4, 2)).mean(3))
    torch.testing.assert_close(other, pooled(teacher, (4, 4)))


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5)])
def test_maps_of_the_same_size_are_unchanged(shape: tuple[int, ...]) -> None:
    student, teacher = drawn(*shape), -drawn(*shape)
    own, other = same_size(student, teacher)
    assert torch.equal(own, student)
    assert torch.equal(other, teacher)


def test_an_image_compared_with_a_vector_is_averaged() -> None:
    image, vector = drawn(2, 3, 4, 5), drawn(2, 7)
    own, other = same_size(image, vector)
    torch.testing.assert_close(own.flatten(1), image.mean((2, 3)))
    assert torch.equal(other.flatten(1), vector)


def test_images_and_signals_are_not_compared() -> None:
    with pytest.raises(
        InputError, match=r"got shapes \(2, 3, 4, 5\) from the student and \(2, 3, 4\) from the teacher"
    ):
        same_size(drawn(2, 3, 4, 5), drawn(2, 3, 4))


def test_a_lifted_map_has_axes_of_size_one_at_its_end() -> None:
    assert lifted(drawn(2, 3), 4).shape == (2, 3, 1, 1)
    assert torch.equal(lifted(drawn(2, 3, 4), 3), drawn(2, 3, 4))


def test_units_have_length_one_and_their_direction() -> None:
    values = drawn(4, 3)
    for value, found in zip(values.tolist(), unit(values).tolist(), strict=True):
        length = math.sqrt(sum(x * x for x in value))
        assert found == pytest.approx([x / length for x in value], abs=1e-12)
    assert torch.autograd.gradcheck(unit, values.requires_grad_())


def test_vectors_of_norm_zero_are_zero_without_gradient() -> None:
    values = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1e-3]], dtype=torch.float64, requires_grad=True)
    found = unit(values, least=1e-2)
    (gradient,) = torch.autograd.grad(found[:, 0].sum(), values)
    assert found.tolist() == [[0, 0], [0.6, 0.8], [0, 0]]
    assert gradient[[0, 2]].tolist() == [[0, 0], [0, 0]]
    assert float(gradient[1].abs().sum()) > 0


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_convolution_of_kernel_one_maps_the_channels_of_every_position(rank: int) -> None:
    layer = convolution(3, 5, kernel=1, rank=rank).double()
    assert isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d)
    maps = drawn(2, 3, *[4] * rank)
    weight = layer.weight.flatten(1)
    expected = torch.einsum("oi,bip->bop", weight, maps.reshape(2, 3, -1)) + layer.bias.unsqueeze(1)
    torch.testing.assert_close(layer(maps).reshape(2, 5, -1), expected)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_convolution_keeps_the_resolution(rank: int) -> None:
    assert convolution(3, 5, kernel=3, rank=rank)(torch.zeros(2, 3, *[4] * rank)).shape == (2, 5, *[4] * rank)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_projection_gives_channels_of_mean_zero_and_variance_one(rank: int) -> None:
    projected = Projection(3, 5, kernel=1, rank=rank).double()(100 * drawn(6, 3, *[4] * rank))
    over_channels = projected.reshape(6, 5, -1).transpose(0, 1).flatten(1)
    torch.testing.assert_close(over_channels.mean(1), torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close(
        over_channels.var(1, correction=0), torch.ones(5, dtype=torch.float64), rtol=1e-4, atol=0
    )


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_projection_normalises_a_single_value_by_its_running_statistics(rank: int) -> None:
    projection = Projection(3, 5, kernel=1, rank=rank).double()
    projection(100 * drawn(6, 3, *[4] * rank))
    single = drawn(1, 3, *[1] * rank).requires_grad_()
    found = projection(single)
    torch.testing.assert_close(found, projection.eval()(single))
    assert float(torch.autograd.grad(found.sum(), single)[0].abs().sum()) > 0
