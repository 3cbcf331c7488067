import math

import pytest
import torch
from torch import Tensor

from autokd.distillation import BatchContext, Outputs
from autokd.distillation.methods.attention import AT, attention_loss, attention_map
from autokd.errors import InputError

CONTEXT = BatchContext(torch.tensor([0, 2, 1]), torch.arange(3))


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def outputs(*features: Tensor) -> Outputs:
    return Outputs(drawn(3, 4), features=features)


def attention_slowly(maps: Tensor, power: float) -> list[list[float]]:
    """`mean_c |f|^power` at each position, normalised, one row for each sample."""
    rows = []
    for sample in maps.flatten(2).tolist():
        strengths = [sum(abs(f) ** power for f in column) / len(column) for column in zip(*sample, strict=True)]
        length = math.sqrt(sum(strength**2 for strength in strengths))
        rows.append([strength / length for strength in strengths])
    return rows


@pytest.mark.parametrize("power", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("size", [(4, 3), (5,)])
def test_the_loss_equals_a_loop_over_positions(size: tuple[int, ...], power: float) -> None:
    student, teacher = drawn(3, 4, *size), drawn(3, 6, *size, seed=1)
    rows = zip(attention_slowly(student, power), attention_slowly(teacher, power), strict=True)
    differences = [(a - b) ** 2 for own, other in rows for a, b in zip(own, other, strict=True)]
    assert float(attention_loss(student, teacher, power)) == pytest.approx(
        sum(differences) / len(differences), abs=1e-9
    )


def test_the_gradient_passes_gradcheck() -> None:
    teacher = drawn(3, 6, 4, 4, seed=1)
    assert torch.autograd.gradcheck(lambda s: attention_loss(s, teacher), drawn(3, 2, 4, 4).requires_grad_())
    assert torch.autograd.gradcheck(lambda s: attention_loss(s, teacher), drawn(3, 2, 5, 5).requires_grad_())


def test_the_larger_map_is_pooled_to_the_smaller() -> None:
    small, large = drawn(3, 4, 4), drawn(3, 4, 8, seed=1)
    expected = attention_loss(small, large.unflatten(2, (4, 2)).mean(3))
    torch.testing.assert_close(attention_loss(small, large), expected)
    torch.testing.assert_close(attention_loss(large, small), expected)


def test_attention_does_not_depend_on_scale_or_order_of_the_channels() -> None:
    student, teacher = drawn(3, 4, 5, 5), drawn(3, 6, 5, 5, seed=1)
    moved = attention_loss(-3 * student[:, [2, 0, 3, 1]], 7 * teacher)
    torch.testing.assert_close(moved, attention_loss(student, teacher))


def test_the_loss_of_equal_attention_is_zero() -> None:
    student = drawn(3, 4, 5, 5).requires_grad_()
    loss = attention_loss(student, student)
    assert loss.item() == 0
    assert float(torch.autograd.grad(loss, student)[0].abs().max()) == 0


def test_the_loss_of_disjoint_attention_is_two_over_the_number_of_positions() -> None:
    student, teacher = torch.zeros(1, 2, 8), torch.zeros(1, 3, 8)
    student[0, 1, 3], teacher[0, 2, 5] = 4.0, -9.0
    assert float(attention_loss(student, teacher)) == pytest.approx(2 / 8)


def test_a_map_has_norm_one_and_with_a_high_power_one_position() -> None:
    maps = drawn(3, 4, 5, 5)
    torch.testing.assert_close(attention_map(maps).norm(dim=1), torch.ones(3, dtype=torch.float64))
    strongest = maps.abs().amax(1).flatten(1)
    assert torch.equal(attention_map(maps, 200.0).round(), (strongest == strongest.amax(1, keepdim=True)).double())


@pytest.mark.parametrize("power", [1.0, 2.0, 4.0])
def test_features_of_zero_get_no_gradient(power: float) -> None:
    student = torch.zeros(3, 4, 5, 5, requires_grad=True)
    loss = attention_loss(student, drawn(3, 4, 5, 5).float(), power)
    assert loss.isfinite()
    assert float(torch.autograd.grad(loss, student)[0].abs().max()) == 0


def test_the_method_sums_over_the_pairs_from_the_deepest() -> None:
    student, teacher = outputs(drawn(3, 4, 6), drawn(3, 5, 3)), outputs(*(drawn(3, 2, n, seed=1) for n in (12, 6, 3)))
    pairs = zip(student.features, teacher.features[1:], strict=True)
    expected = 10 * sum(attention_loss(own, other, 4.0) for own, other in pairs)
    torch.testing.assert_close(AT(10.0, 4.0).teacher_loss(student, teacher, CONTEXT), expected)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 1), (3, 4, 1, 1)])
def test_maps_of_one_position_are_rejected(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="no pair of feature maps has more than one position"):
        AT().prepare(outputs(drawn(*shape)), outputs(drawn(*shape)), CONTEXT.labels)


def test_one_pair_of_several_positions_is_enough() -> None:
    features = outputs(drawn(3, 4, 5, 5), drawn(3, 4, 1, 1))
    AT().prepare(features, features, CONTEXT.labels)


@pytest.mark.parametrize("weight", [-1.0, math.inf, math.nan])
def test_a_weight_must_not_be_negative(weight: float) -> None:
    with pytest.raises(InputError, match="`0 <= weight < inf` must hold"):
        AT(weight)


@pytest.mark.parametrize("power", [0.5, math.inf, math.nan])
def test_a_power_must_be_at_least_one(power: float) -> None:
    with pytest.raises(InputError, match="`1 <= power < inf` must hold, but got power="):
        AT(power=power)
