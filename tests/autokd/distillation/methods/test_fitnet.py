import math

import pytest
import torch
from torch import Tensor, nn

from autokd.distillation import BatchContext, Outputs
from autokd.distillation.methods.fitnet import FitNet, hint_loss
from autokd.errors import InputError

CONTEXT = BatchContext(torch.tensor([0, 2, 1, 0]), torch.arange(4))


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def outputs(seed: int, *shapes: tuple[int, ...]) -> Outputs:
    return Outputs(drawn(4, 3, seed=seed), features=tuple(drawn(4, *shape, seed=seed) for shape in shapes))


def prepared(method: FitNet, student: Outputs, teacher: Outputs) -> FitNet:
    method.prepare(student, teacher, CONTEXT.labels)
    return method.double()


STUDENT = outputs(0, (4, 8, 8), (6, 4, 4))
TEACHER = outputs(1, (3, 16, 16), (5, 8, 8), (7, 4, 4))


def test_the_loss_is_the_mean_squared_difference_of_the_regressed_features() -> None:
    student, teacher, weight = drawn(2, 3, 4), drawn(2, 5, 4, seed=1), drawn(5, 3, seed=2)
    total = 0.0
    for b in range(2):
        for k in range(5):
            for p in range(4):
                regressed = sum(float(weight[k, c] * student[b, c, p]) for c in range(3))
                total += (regressed - float(teacher[b, k, p])) ** 2
    found = hint_loss(student, teacher, lambda maps: weight @ maps)
    assert float(found) == pytest.approx(total / (2 * 5 * 4), abs=1e-9)


def test_the_larger_map_is_pooled_to_the_smaller() -> None:
    small, large = drawn(2, 3, 4, 4), drawn(2, 3, 8, 8, seed=1)
    mean = large.unflatten(3, (4, 2)).mean(4).unflatten(2, (4, 2)).mean(3)
    expected = ((small - mean) ** 2).mean()
    torch.testing.assert_close(hint_loss(small, large, nn.Identity()), expected)
    torch.testing.assert_close(hint_loss(large, small, nn.Identity()), expected)


def test_the_loss_of_features_that_predict_the_hint_is_zero() -> None:
    student = drawn(2, 3, 4, 4).requires_grad_()
    loss = hint_loss(student, 2 * student, lambda maps: 2 * maps)
    assert loss.item() == 0
    assert float(torch.autograd.grad(loss, student)[0].abs().max()) == 0


@pytest.mark.parametrize("shape", [(6,), (6, 5), (6, 4, 4)])
def test_the_gradient_passes_gradcheck(shape: tuple[int, ...]) -> None:
    student, teacher = outputs(0, shape), outputs(1, (3, *shape[1:]))
    method = prepared(FitNet(2.0), student, teacher)

    def loss(features: Tensor) -> Tensor:
        return method.teacher_loss(Outputs(student.logits, features=(features,)), teacher, CONTEXT)

    assert torch.autograd.gradcheck(loss, student.features[0].clone().requires_grad_())


@pytest.mark.parametrize(("stages", "hints"), [("middle", [(6, 7)]), ("last", [(6, 7)]), ("all", [(4, 5), (6, 7)])])
def test_each_chosen_pair_has_a_regressor_from_the_students_channels_to_the_teachers(
    stages: str, hints: list[tuple[int, int]]
) -> None:
    method = prepared(FitNet(stages=stages), STUDENT, TEACHER)
    shapes = [tuple(regressor.convolution.weight.shape) for regressor in method.regressors]  # type: ignore[arg-type]
    assert shapes == [(k, c, 1, 1) for c, k in hints]


def test_the_loss_of_all_pairs_is_the_sum() -> None:
    method = prepared(FitNet(3.0, "all"), STUDENT, TEACHER)
    chosen = zip(STUDENT.features, TEACHER.features[1:], method.regressors, strict=True)
    expected = 3 * sum(hint_loss(own, hint, regressor) for own, hint, regressor in chosen)
    torch.testing.assert_close(method.teacher_loss(STUDENT, TEACHER, CONTEXT), expected)


def test_regressors_are_float32_and_learn() -> None:
    student, teacher = (
        Outputs(o.logits.float(), features=tuple(f.bfloat16() for f in o.features)) for o in (STUDENT, TEACHER)
    )
    method = FitNet(stages="all")
    method.prepare(student, teacher, CONTEXT.labels)
    method.loss(student, teacher, CONTEXT).backward()
    assert all(parameter.dtype == torch.float32 for parameter in method.parameters())
    assert all(parameter.grad is not None for parameter in method.parameters())
    assert all(float(regressor.convolution.weight.grad.abs().max()) > 0 for regressor in method.regressors)


def test_a_hint_that_is_linear_in_the_features_can_be_fitted() -> None:
    weight = drawn(3, 4, seed=2)
    student = outputs(0, (4, 8, 8))
    hint = torch.einsum("kc,bchw->bkhw", weight, student.features[0])
    teacher = Outputs(student.logits, features=(hint,))
    (regressor,) = prepared(FitNet(), student, teacher).regressors
    variance, mean = torch.var_mean(hint, (0, 2, 3), correction=0)
    regressor.convolution.weight.data = weight[..., None, None]
    regressor.normalisation.weight.data = (variance + regressor.normalisation.eps).sqrt()
    regressor.normalisation.bias.data = mean
    assert hint_loss(student.features[0], hint, regressor).item() < 1e-20


@pytest.mark.parametrize("stages", ["middle", "last", "all"])
def test_vectors_of_a_batch_of_one_are_regressed(stages: str) -> None:
    student, teacher = outputs(0, (4,)).first(1), outputs(1, (5,)).first(1)
    method = prepared(FitNet(stages=stages), student, teacher)
    assert method.teacher_loss(student, teacher, CONTEXT).isfinite()


@pytest.mark.parametrize("weight", [-1.0, math.inf, math.nan])
def test_a_weight_must_not_be_negative(weight: float) -> None:
    with pytest.raises(InputError, match="`0 <= weight < inf` must hold"):
        FitNet(weight)


def test_unknown_stages_are_rejected() -> None:
    with pytest.raises(InputError, match="`stages` must be one of"):
        FitNet(stages="first")
