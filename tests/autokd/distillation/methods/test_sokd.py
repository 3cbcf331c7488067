from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autokd.data.mixup import Mixture
from autokd.distillation import (
    AT,
    DML,
    KD,
    SOKD,
    BatchContext,
    ClusteredHints,
    Combined,
    FeatureExtractor,
    FitNet,
    Method,
    Outputs,
    Recruits,
    kd_loss,
    make_method,
)
from autokd.errors import InputError
from autokd.recipes.teachers import digits

IMAGES = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def companion() -> Tensor:
    return 3 * torch.randn(7, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def context(labels: Tensor, companion: Tensor, mixture: Mixture | None = None) -> BatchContext:
    return BatchContext(labels, torch.arange(len(labels)), mixture=mixture, companions=(Outputs(companion),))


def network() -> nn.Module:
    """A teacher of three resolutions, with other statistics than those of a fresh one."""
    torch.manual_seed(0)
    found = digits().train()
    for _ in range(5):
        found(IMAGES)
    return found.eval()


def recruits(copied: Callable[[], nn.Module] = network, layers: tuple[str, ...] | None = None) -> Recruits:
    return Recruits(lambda number: nn.Identity(), copied, IMAGES, layers)


def tops(companion: nn.Module) -> set[str]:
    """Blocks and classifier of the companion that learn."""
    names = (name for name, parameter in companion.named_parameters() if parameter.requires_grad)
    return {".".join(name.split(".")[1:3]) for name in names}


def test_the_loss_is_that_of_both_networks(student: Tensor, teacher: Tensor, labels: Tensor, companion: Tensor) -> None:
    def divergence(pupil: Tensor, tutor: Tensor) -> Tensor:
        own, target = (pupil / 3).log_softmax(1), (tutor / 3).softmax(1)
        return 9 * F.kl_div(own, target, reduction="batchmean")

    found = SOKD(temperature=3.0, weight=0.7).loss(Outputs(student), Outputs(teacher), context(labels, companion))
    students = F.cross_entropy(student, labels) + 0.7 * divergence(student, companion)
    theirs = 0.7 * (divergence(companion, teacher) + divergence(companion, student))
    torch.testing.assert_close(found, students + F.cross_entropy(companion, labels) + theirs)


def test_no_gradient_crosses_and_none_enters_the_teacher(
    student: Tensor, teacher: Tensor, labels: Tensor, companion: Tensor
) -> None:
    networks = student, teacher, companion = [each.requires_grad_() for each in (student, teacher, companion)]
    loss = SOKD().loss(Outputs(student), Outputs(teacher), context(labels, companion))
    found = torch.autograd.grad(loss, networks, allow_unused=True)
    own = F.cross_entropy(student, labels) + kd_loss(student, companion, 4.0)
    theirs = F.cross_entropy(companion, labels) + kd_loss(companion, teacher, 4.0) + kd_loss(companion, student, 4.0)
    torch.testing.assert_close(found[0], torch.autograd.grad(own, student)[0])
    torch.testing.assert_close(found[2], torch.autograd.grad(theirs, companion)[0])
    assert found[1] is None


def test_feature_maps_are_compared_with_those_of_the_companion(
    student: Tensor, teacher: Tensor, labels: Tensor, companion: Tensor
) -> None:
    maps = [torch.randn(7, 3, 4, 4, dtype=torch.float64).requires_grad_() for _ in range(3)]
    own, theirs, learnt = (
        Outputs(logits, features=(each,)) for logits, each in zip((student, teacher, companion), maps, strict=True)
    )
    seen = replace(context(labels, companion), companions=(learnt,))
    found = make_method("sokd+at").loss(own, theirs, seen)
    torch.testing.assert_close(found, SOKD().loss(own, theirs, seen) + AT().teacher_loss(own, learnt, seen))
    gradients = torch.autograd.grad(found, maps, allow_unused=True)
    assert [gradient is not None for gradient in gradients] == [True, False, False]


@pytest.mark.parametrize("layers", [None, ("blocks.1", "blocks.2")])
def test_the_companions_maps_are_those_of_the_teachers_layers(layers: tuple[str, ...] | None) -> None:
    method, teacher = make_method("sokd+at"), network()
    method.recruit(recruits(layers=layers))
    (found,) = method.eval().companion_outputs(IMAGES)
    expected = FeatureExtractor(teacher, {"features"}, layers).outputs(teacher(IMAGES))
    assert len(found.features) == (2 if layers else 3)
    for own, other in zip(found.features, expected.features, strict=True):
        torch.testing.assert_close(own, other)
    assert found.logits.requires_grad


@pytest.mark.parametrize("inner", [KD(), ClusteredHints(), Combined([FitNet(), DML()])])
def test_only_a_comparison_of_feature_maps_at_the_teachers_layers_can_be_wrapped(inner: Method) -> None:
    with pytest.raises(InputError, match=rf"'sokd' wraps one that compares feature maps .*, but '{inner.name}' does"):
        SOKD(inner)


def test_the_companion_learns_both_labels_of_a_mixed_sample(
    student: Tensor, teacher: Tensor, labels: Tensor, companion: Tensor
) -> None:
    mixture = Mixture(labels.flip(0), torch.full((7,), 0.75, dtype=torch.float64))
    found = SOKD(weight=0.0).teacher_loss(Outputs(student), Outputs(teacher), context(labels, companion, mixture))
    expected = 0.75 * F.cross_entropy(companion, labels) + 0.25 * F.cross_entropy(companion, labels.flip(0))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("trunk_norm", ["frozen", "drifting"])
def test_ten_steps_leave_the_trunk_as_it_was_but_for_norms_that_drift(optimizer: type, trunk_norm: str) -> None:
    method, labels = SOKD(trunk_norm=trunk_norm), torch.arange(6)
    method.recruit(recruits())
    (companion,) = method.companions
    before = {name: tensor.clone() for name, tensor in companion.state_dict().items()}
    steps = optimizer(method.parameters(), lr=0.01, weight_decay=0.1)
    student, teacher = Outputs(torch.zeros(6, 10)), Outputs(torch.eye(6, 10))
    for _ in range(10):
        steps.zero_grad()
        method.train()
        method.loss(student, teacher, context(labels, companion(IMAGES))).backward()
        steps.step()
    state = companion.state_dict()
    changed = {name for name, tensor in state.items() if not torch.equal(tensor, before[name])}
    bridge = {name for name in state if name.startswith(("network.blocks.2", "network.classifier"))}
    statistics = {name for name in state if "running" in name or "tracked" in name}
    assert changed == (bridge | statistics if trunk_norm == "drifting" else bridge)


@pytest.mark.parametrize(
    ("layers", "bridge_from", "learning"),
    [
        (None, 2, {"blocks.2", "classifier.weight", "classifier.bias"}),
        (None, 1, {"classifier.weight", "classifier.bias"}),
        (("blocks.0", "blocks.1", "blocks.2"), 3, {"blocks.1", "blocks.2", "classifier.weight", "classifier.bias"}),
    ],
)
def test_what_runs_after_a_layer_counted_from_the_end_learns(
    layers: tuple[str, ...] | None, bridge_from: int, learning: set[str]
) -> None:
    method = SOKD(bridge_from=bridge_from)
    method.recruit(recruits(layers=layers))
    assert tops(method.companions[0]) == learning


@pytest.mark.parametrize("bridge", ["teacher", "random"])
def test_the_bridge_begins_as_the_teacher_or_at_random(bridge: str) -> None:
    method, expected = SOKD(bridge=bridge), network().state_dict()
    method.recruit(recruits())
    state = {name.removeprefix("network."): tensor for name, tensor in method.companions[0].state_dict().items()}
    other = {name for name, tensor in state.items() if not torch.equal(tensor, expected[name])}
    assert all(name.startswith(("blocks.2", "classifier")) for name in other)
    assert bool(other) == (bridge == "random")


def test_a_companion_of_rate_zero_does_not_learn_and_stays_in_evaluation() -> None:
    method = SOKD(companion_rate=0.0, trunk_norm="drifting")
    method.recruit(recruits())
    assert tops(method.train().companions[0]) == set()
    assert not any(module.training for module in method.companions[0].network.modules())


def test_a_teacher_in_which_the_bridge_cannot_be_told_is_refused() -> None:
    def vectors() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()

    with pytest.raises(InputError, match=r"`bridge_from` = 2 wants as many .* but it has none: .* `teacher.layers`"):
        SOKD().recruit(recruits(vectors))
    with pytest.raises(InputError, match=r"`bridge_from` = 1 is the teacher's layer 'classifier', after which no"):
        SOKD(bridge_from=1).recruit(recruits(layers=("blocks.0", "classifier")))


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.0},
        {"weight": -1.0},
        {"bridge": "trained"},
        {"bridge_from": 0},
        {"trunk_norm": "batch"},
        {"companion_rate": 1.5},
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        SOKD(**settings)  # type: ignore[arg-type]
