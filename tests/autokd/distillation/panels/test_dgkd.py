import math
from collections import Counter

import pytest
import torch
from torch import Tensor

from autokd.distillation import DGKD, KD, BatchContext, Outputs
from autokd.errors import InputError


def test_with_all_teachers_loss_and_gradient_are_sums(student: Tensor, panel: Outputs, context: BatchContext) -> None:
    student.requires_grad_()
    found = DGKD(KD(3.0, 0.4), drop=0).teacher_loss(Outputs(student), panel, context)
    each = [KD(3.0, 0.4).teacher_loss(Outputs(student), one, context) for one in (panel, *panel.others)]
    torch.testing.assert_close(found, torch.stack(each).sum())
    gradients = [torch.autograd.grad(loss, student, retain_graph=True)[0] for loss in each]
    torch.testing.assert_close(torch.autograd.grad(found, student)[0], torch.stack(gradients).sum(0))


@pytest.mark.parametrize(("drop", "kept"), [(0, 3), (1, 2), (2, 1), (3, 1), (9, 1)])
def test_exactly_so_many_are_left_out_but_never_all(
    drop: int, kept: int, student: Tensor, panel: Outputs, context: BatchContext
) -> None:
    for _ in range(20):
        teachers = DGKD(KD(), drop).teachers(Outputs(student), panel, context)
        assert len({id(each.logits) for each in teachers}) == kept


def test_every_teacher_is_left_out_as_often(student: Tensor, panel: Outputs, context: BatchContext) -> None:
    """The mean loss is the kept share of the full one, to three standard errors."""
    torch.manual_seed(0)
    n, method = 2000, DGKD(KD(), drop=1)
    losses = torch.stack([method.teacher_loss(Outputs(student), panel, context) for _ in range(n)])
    full = DGKD(KD(), drop=0).teacher_loss(Outputs(student), panel, context)
    assert (losses.mean() - 2 / 3 * full).abs() < 3 * losses.std() / math.sqrt(n)
    draws = (method.teachers(Outputs(student), panel, context) for _ in range(n))
    counts = Counter(id(each.logits) for draw in draws for each in draw)
    assert all(abs(count - 2 / 3 * n) < 3 * math.sqrt(n * 2 / 9) for count in counts.values())


def test_the_draws_follow_from_the_global_generator(student: Tensor, panel: Outputs, context: BatchContext) -> None:
    def draws() -> list[float]:
        torch.manual_seed(7)
        return [DGKD(KD()).teacher_loss(Outputs(student), panel, context).item() for _ in range(5)]

    assert draws() == draws()
    assert len(set(draws())) > 1


@pytest.mark.parametrize("drop", [-1, 0.5])
def test_the_number_left_out_is_a_whole_number(drop: float) -> None:
    with pytest.raises(InputError, match="drop"):
        DGKD(KD(), drop)  # type: ignore[arg-type]
