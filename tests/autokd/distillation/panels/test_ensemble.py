import pytest
import torch
from torch import Tensor

from autokd.distillation import KD, BatchContext, Ensemble, Outputs, kd_loss, make_method
from autokd.errors import InputError

WEIGHTS = (0.5, 0.2, 0.3)


def prepared(name: str, rule: str, student: Tensor, panel: Outputs, labels: Tensor) -> Ensemble:
    method = make_method(name, {"ensemble.weights": rule})
    assert isinstance(method, Ensemble)
    method.weigh({"de": WEIGHTS, "nll": (0.2, 0.2, 0.6)})
    method.prepare(Outputs(student), panel, labels)
    return method


def mean(panel: Outputs, weights: tuple[float, ...], t: float) -> Tensor:
    logits = [panel.logits, *(other.logits for other in panel.others)]
    parts = [w * (z / t).softmax(1) for w, z in zip(weights, logits, strict=True)]
    return torch.stack(parts).sum(0)


@pytest.mark.parametrize(
    ("rule", "weights"), [("de", WEIGHTS), ("nll", (0.2, 0.2, 0.6)), ("uniform", (1 / 3, 1 / 3, 1 / 3))]
)
def test_the_teacher_is_the_weighted_mean_at_the_inner_temperature(
    rule: str, weights: tuple[float, ...], student: Tensor, panel: Outputs, context: BatchContext
) -> None:
    method = prepared("ensemble+kd", rule, student, panel, context.labels)
    (found,) = method.teachers(Outputs(student), panel, context)
    torch.testing.assert_close((found.logits / 4.0).softmax(1), mean(panel, weights, 4.0))
    target = 4 * mean(panel, weights, 4.0).log()
    torch.testing.assert_close(
        method.teacher_loss(Outputs(student), panel, context), 0.9 * kd_loss(student, target, 4.0)
    )


@pytest.mark.parametrize(("name", "t"), [("ensemble+standardise+kd", 4.0), ("ensemble+ctkd+kd", 1.0)])
def test_a_learnt_temperature_takes_the_mean_at_one(
    name: str, t: float, student: Tensor, panel: Outputs, context: BatchContext
) -> None:
    method = prepared(name, "de", student, panel, context.labels)
    (found,) = method.teachers(Outputs(student), panel, context)
    torch.testing.assert_close((found.logits / t).softmax(1), mean(panel, WEIGHTS, t))


def test_until_weights_are_told_all_weigh_the_same(student: Tensor, panel: Outputs, context: BatchContext) -> None:
    method = Ensemble(KD())
    method.prepare(Outputs(student), panel, context.labels)
    torch.testing.assert_close(method.weights, torch.full((3,), 1 / 3, dtype=torch.float64))


def test_a_teacher_without_weight_says_nothing(student: Tensor, panel: Outputs, context: BatchContext) -> None:
    method = Ensemble(KD())
    method.weigh({"de": (0.0, 1.0, 0.0)})
    method.prepare(Outputs(student), panel, context.labels)
    found = method.teacher_loss(Outputs(student), panel, context)
    torch.testing.assert_close(found, KD().teacher_loss(Outputs(student), panel.others[0], context))


def test_the_weights_are_as_many_as_the_teachers(student: Tensor, panel: Outputs, labels: Tensor) -> None:
    method = Ensemble(KD())
    method.weigh({"de": (0.5, 0.5)})
    with pytest.raises(InputError, match="need 3 weights, but got 2"):
        method.prepare(Outputs(student), panel, labels)


def test_a_rule_that_is_unknown_is_refused() -> None:
    with pytest.raises(InputError, match="weights"):
        Ensemble(KD(), "best")
