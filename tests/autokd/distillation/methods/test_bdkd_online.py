import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autokd.data.mixup import Mixture
from autokd.distillation import BatchContext, BDKDOnline, Outputs, Recruits, bdkd_loss, bdkd_teacher_loss, kd_loss
from autokd.errors import InputError


@pytest.fixture
def companion() -> Tensor:
    return 3 * torch.randn(7, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def context(labels: Tensor, companion: Tensor, mixture: Mixture | None = None) -> BatchContext:
    return BatchContext(labels, torch.arange(len(labels)), mixture=mixture, companions=(Outputs(companion),))


def recruited(method: BDKDOnline) -> nn.Module:
    """The companion of a method whose teacher is a layer of ones and a batch norm."""
    layer = nn.Linear(3, 5)
    nn.init.ones_(layer.weight)
    teacher = nn.Sequential(layer, nn.BatchNorm1d(5)).eval()
    method.recruit(Recruits(lambda number: nn.Identity(), lambda: teacher, torch.zeros(2, 3)))
    return method.companions[0]


def test_the_loss_is_that_of_both_networks(student: Tensor, teacher: Tensor, labels: Tensor, companion: Tensor) -> None:
    method = BDKDOnline(temperature=3.0, delta=1.7, weight=0.6, teacher_weight=0.4)
    found = method.loss(Outputs(student), Outputs(teacher), context(labels, companion))
    own = F.cross_entropy(student, labels) + 0.6 * bdkd_loss(student, companion, 3.0, 1.7)
    torch.testing.assert_close(found, own + bdkd_teacher_loss(companion, student, labels, 3.0, 0.4))


def test_no_gradient_crosses_and_the_teacher_does_not_take_part(
    student: Tensor, teacher: Tensor, labels: Tensor, companion: Tensor
) -> None:
    networks = student, teacher, companion = [each.requires_grad_() for each in (student, teacher, companion)]
    loss = BDKDOnline(teacher_weight=0.4).loss(Outputs(student), Outputs(teacher), context(labels, companion))
    found = torch.autograd.grad(loss, networks, allow_unused=True)
    own = F.cross_entropy(student, labels) + bdkd_loss(student, companion.detach(), 4.0)
    theirs = bdkd_teacher_loss(companion, student.detach(), labels, 4.0, 0.4)
    torch.testing.assert_close(found[0], torch.autograd.grad(own, student)[0])
    torch.testing.assert_close(found[2], torch.autograd.grad(theirs, companion)[0])
    assert found[1] is None


def test_a_delta_of_one_is_the_plain_sum_of_both_directions(
    student: Tensor, teacher: Tensor, labels: Tensor, companion: Tensor
) -> None:
    method = BDKDOnline(delta=1.0, teacher_weight=0.0)
    found = method.teacher_loss(Outputs(student), Outputs(teacher), context(labels, companion))
    both = kd_loss(student, companion, 4.0) + kd_loss(companion, student, 4.0)
    torch.testing.assert_close(found, both + F.cross_entropy(companion, labels))


def test_the_companion_learns_both_labels_of_a_mixed_sample(
    student: Tensor, teacher: Tensor, labels: Tensor, companion: Tensor
) -> None:
    mixture = Mixture(labels.flip(0), torch.full((7,), 0.75, dtype=torch.float64))
    method = BDKDOnline(weight=0.0, teacher_weight=0.0)
    found = method.teacher_loss(Outputs(student), Outputs(teacher), context(labels, companion, mixture))
    expected = 0.75 * F.cross_entropy(companion, labels) + 0.25 * F.cross_entropy(companion, labels.flip(0))
    torch.testing.assert_close(found, expected)


def test_the_companion_starts_as_the_teacher_or_afresh_and_all_of_it_learns() -> None:
    ones = torch.ones(5, 3)
    for start in ("trained", "fresh"):
        companion = recruited(BDKDOnline(start=start))
        assert torch.equal(companion.network[0].weight, ones) == (start == "trained")
        assert all(parameter.requires_grad for parameter in companion.parameters())
        assert all(module.training for module in companion.train().modules())


def test_a_companion_of_rate_zero_does_not_learn_and_stays_in_evaluation() -> None:
    method = BDKDOnline(companion_rate=0.0)
    companion = recruited(method)
    assert not any(module.training for module in method.train().companions[0].network.modules())
    assert not any(parameter.requires_grad for parameter in companion.parameters())


@pytest.mark.parametrize(
    "settings",
    [{"temperature": 0.0}, {"delta": 0.5}, {"start": "random"}, {"teacher_weight": -1.0}, {"companion_rate": -0.1}],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        BDKDOnline(**settings)  # type: ignore[arg-type]
