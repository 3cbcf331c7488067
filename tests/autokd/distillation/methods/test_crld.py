import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from autokd.distillation import BatchContext, Outputs
from autokd.distillation.methods.crld import CRLD, crld_loss, strong_view
from autokd.errors import InputError

Pair = tuple[Tensor, Tensor]


def softmax_slowly(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def kd_slowly(student: list[float], teacher: list[float], t: float) -> float:
    pairs = zip(softmax_slowly(teacher, t), softmax_slowly(student, t), strict=True)
    return t**2 * sum(p * math.log(p / q) for p, q in pairs)


def crld_slowly(
    student: Pair, teacher: Pair, t: float, within: float, cross: float, sure: tuple[float, float]
) -> float:
    total = 0.0
    for sw, ss, tw, ts in zip(*map(Tensor.tolist, (*student, *teacher)), strict=True):
        if max(softmax_slowly(tw, 1.0)) >= sure[0]:
            total += within * (kd_slowly(sw, tw, t) + kd_slowly(ss, ts, t))
        if max(softmax_slowly(ts, 1.0)) >= sure[1]:
            total += cross * (kd_slowly(ss, tw, t) + kd_slowly(sw, ts, t))
    return total / len(student[0])


@pytest.fixture
def views(student: Tensor, teacher: Tensor) -> tuple[Pair, Pair]:
    return (student, student.flip(0)), (teacher, teacher.flip(1, 0))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("sure", [(0.0, 0.0), (0.6, 0.5), (1.0, 1.0)])
def test_the_loss_equals_a_loop_over_samples(
    views: tuple[Pair, Pair], temperature: float, sure: tuple[float, float]
) -> None:
    found = crld_loss(*views, temperature, 2.0, 0.5, *sure).item()
    assert found == pytest.approx(crld_slowly(*views, temperature, 2.0, 0.5, sure), abs=1e-9)


def test_the_gradient_passes_gradcheck(views: tuple[Pair, Pair]) -> None:
    (weak, strong), teacher = views
    inputs = weak.requires_grad_(), strong.requires_grad_()
    assert torch.autograd.gradcheck(lambda w, s: crld_loss((w, s), teacher, weak_confidence=0.6), inputs)


def test_the_labels_teach_both_views(views: tuple[Pair, Pair], labels: Tensor) -> None:
    student, teacher = (Outputs(torch.cat(pair)) for pair in views)
    found = CRLD(2.0, 3.0, 0.7, 0.6, 0.5).loss(student, teacher, BatchContext(labels, labels))
    hard = F.cross_entropy(views[0][0], labels) + F.cross_entropy(views[0][1], labels)
    torch.testing.assert_close(found, hard + crld_loss(*views, 2.0, 3.0, 0.7, 0.6, 0.5))


@pytest.mark.parametrize("shape", [(64, 3, 8, 6), (64, 2, 10), (64, 12)])
def test_the_strong_view_scales_a_sample_and_hides_a_part_of_it(shape: tuple[int, ...]) -> None:
    samples = 1 + torch.rand(shape)
    weak, strong = CRLD().views(samples).chunk(2)
    assert weak.equal(samples)
    factors = (strong / weak).flatten(1)
    scale = factors.amax(1, keepdim=True)
    assert ((factors - scale).abs() < 1e-5).logical_or(factors == 0).all()
    assert 0.5 <= scale.min() < 0.7 < 1.3 < scale.max() <= 1.5
    hidden = (factors == 0).float().mean().item()
    assert hidden == pytest.approx({2: 0.25, 3: 0.5, 4: 0.25}[len(shape)], abs=0.06)


def test_the_hidden_part_of_an_image_is_a_box_within_it_at_every_position() -> None:
    hidden = strong_view(torch.ones(200, 1, 6, 4))[:, 0] == 0
    assert (hidden.any(2).sum(1) == 3).all()
    assert (hidden.any(1).sum(1) == 2).all()
    assert len({tuple(box.nonzero()[0].tolist()) for box in hidden}) == 4 * 3


def test_the_strong_view_follows_from_the_global_generator() -> None:
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(strong_view(torch.ones(4, 1, 6, 6)))
    assert drawn[0].equal(drawn[1])
    assert not drawn[0].equal(drawn[2])


def test_settings_out_of_range_are_rejected() -> None:
    settings = (("temperature", 0.0), ("within", -1.0), ("cross", math.inf))
    for name, value in (*settings, ("weak_confidence", 1.5), ("strong_confidence", -0.5)):
        with pytest.raises(InputError, match=f"must hold, but got {name}={value}"):
            CRLD(**{name: value})
