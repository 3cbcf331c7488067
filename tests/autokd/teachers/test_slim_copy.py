from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autokd.teachers.slim_copy import RIDGE, fill, least_squares, most_samples
from search_spaces.architecture.format import Architecture, Node
from search_spaces.design.budget import Budget
from search_spaces.design.registry import space
from search_spaces.networks.network import Network, build
from search_spaces.networks.traced import copy_weights, trace

GENERATOR = torch.Generator().manual_seed(0)


class Residual(nn.Module):
    """Convolutions with batch norm around a sum, and a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.inner = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))
        self.beside = nn.Sequential(nn.Conv2d(8, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.pool = nn.Sequential(nn.Conv2d(8, 6, 1, bias=False), nn.BatchNorm2d(6), nn.MaxPool2d(3, 2, 1))
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.relu(x + self.inner(x))
        return self.head(torch.cat([self.beside(x), self.pool(x)], 1).mean((2, 3)))


class Scales(nn.Module):
    """A head that reads maps of three resolutions; a copy executes its branches in another order."""

    def __init__(self) -> None:
        super().__init__()
        shapes = (1, 8, 1), (8, 12, 2), (12, 16, 2)
        self.stems = nn.ModuleList(nn.Conv2d(inputs, width, 3, stride, 1) for inputs, width, stride in shapes)
        self.sides = nn.ModuleList(nn.Conv2d(width, 8, 1) for width in (8, 12, 16))
        self.head = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        maps = list[Tensor]()
        for stem in self.stems:
            maps.append(x := torch.relu(stem(x)))
        return self.head(torch.cat([side(x).mean((2, 3)) for side, x in zip(self.sides, maps, strict=True)], 1))


def plain() -> nn.Module:
    """Convolutions with biases, and linear layers behind all positions."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 5),
    )  # fmt: skip


def depthwise() -> nn.Module:
    """A depthwise convolution between others."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU6(),
        nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False), nn.BatchNorm2d(12), nn.ReLU6(),
        nn.Conv2d(12, 8, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip


class Gated(nn.Module):
    """Maps that are multiplied by numbers from their means, as in MobileNetV3."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12), nn.Hardswish())
        self.squeeze, self.excite = nn.Conv2d(12, 6, 1), nn.Conv2d(6, 12, 1)
        self.project = nn.Sequential(nn.Conv2d(12, 8, 1, bias=False), nn.BatchNorm2d(8), nn.SiLU())
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        return self.head(self.project(x * gate).mean((2, 3)))


def signals() -> nn.Module:
    """Convolutions of one axis."""
    return nn.Sequential(
        nn.Conv1d(2, 8, 5, padding=2), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 8, 4, dilation=2), nn.GELU(),
        nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip


def vectors() -> nn.Module:
    """Linear layers."""
    return nn.Sequential(
        nn.Linear(9, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 4)
    )


TEACHERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "residual": (Residual, (1, 8, 8)),
    "plain": (plain, (1, 8, 8)),
    "depthwise": (depthwise, (1, 12, 12)),
    "gated": (Gated, (1, 12, 12)),
    "signals": (signals, (2, 20)),
    "vectors": (vectors, (9,)),
    "scales": (Scales, (1, 12, 12)),
}


def samples(shape: tuple[int, ...], n: int = 400) -> Tensor:
    """Smooth samples, as images are: neighbouring values go together."""
    noise = torch.randn(n, *shape, generator=torch.Generator().manual_seed(1))
    for axis in range(2, noise.ndim):
        noise = noise.cumsum(axis) / 2
    return noise


def in_our_format(network: nn.Module, shape: tuple[int, ...]) -> Network:
    """The network in the one format, with batch norms as after a training."""
    network.train()(samples(shape))
    traced = trace(network.eval(), samples(shape, 4))
    made = build(traced.architecture)
    copy_weights(traced, network, made)
    return made.eval()


def slim(teacher: Network, params: int) -> Network:
    """A fresh slim copy with at most so many parameters."""
    graph, copies = teacher.architecture, space("like-teacher").with_teacher(teacher.architecture)
    start = copies.complete(copies.start_points()[0])
    return build(
        copies.sample(start, Budget(params=params), graph.input_shape, graph.classes, np.random.default_rng(0))
    )


def unexplained(copy: Network, teacher: Network, x: Tensor) -> float:
    """Share of the variance of the teacher's logits that those of the copy leave."""
    with torch.no_grad():
        wanted = teacher.eval()(x)
        return float((copy.eval()(x) - wanted).square().sum() / (wanted - wanted.mean(0)).square().sum())


@pytest.mark.parametrize("name", ["plain", "vectors"])
def test_a_copy_of_all_widths_has_the_teachers_weights(name: str) -> None:
    make, shape = TEACHERS[name]
    network = make() if name == "plain" else nn.Sequential(nn.Linear(9, 24), nn.ReLU(), nn.Linear(24, 4))
    teacher = in_our_format(network, shape)
    copy = build(teacher.architecture, seed=7)
    fill(copy, teacher, samples(shape), samples(shape))
    for (key, own), given in zip(copy.named_parameters(), teacher.parameters(), strict=True):
        torch.testing.assert_close(own, given, rtol=1e-3, atol=1e-4, msg=key)


@pytest.mark.parametrize("name", TEACHERS)
def test_a_slim_copy_gives_much_of_what_its_teacher_does_before_any_training(name: str) -> None:
    make, shape = TEACHERS[name]
    teacher, x = in_our_format(make(), shape), samples(shape)
    copy = slim(teacher, sum(each.numel() for each in teacher.parameters()) // 2)
    before, hooks = unexplained(copy, teacher, x), [len(each._forward_pre_hooks) for each in copy.modules()]
    fill(copy.train(), teacher, x, x)
    assert copy.training
    assert [len(each._forward_pre_hooks) for each in copy.modules()] == hooks == [0] * len(hooks)
    assert unexplained(copy, teacher, x) < min(0.5, 0.5 * before)


def test_a_copy_whose_branches_run_in_another_order_weighs_the_same_ones() -> None:
    """As of a teacher that is an earlier student of `nago`, whose sums are weighted."""
    stem, wide, narrow = (
        Node("conv3x3_bn", (source,), 6, name=name) for source, name in ((0, "stem"), (1, "wide"), (1, "narrow"))
    )
    narrow = replace(narrow, operation="relu_conv1x1_bn")
    ends = Node("relu_conv3x3_bn", (2, 3), 6, merge="weighted_sum", name="sum"), Node("classifier", (4,), 5, name="end")
    teacher, copy = (
        build(Architecture((1, 8, 8), 5, (Node("input", (), 1, name="image"), stem, *branches, *ends)), seed)
        for seed, branches in enumerate([(wide, narrow), (narrow, wide)])
    )
    with torch.no_grad():
        teacher.merge_weights.copy_(torch.tensor([3.0, -2.0]))
        teacher.train()(samples((1, 8, 8)))
    fill(copy, teacher, samples((1, 8, 8)), samples((1, 8, 8)))
    assert copy.merge_weights.tolist() == [-2, 3]
    assert unexplained(copy, teacher, samples((1, 8, 8))) < 0.01


def test_what_goes_is_taken_over_by_what_stays() -> None:
    """Each channel has a weaker copy, so half of them can give all, with the weights of both."""
    teacher = in_our_format(plain(), (1, 8, 8))
    with torch.no_grad():
        for layer in [each for each in teacher.modules() if isinstance(each, nn.Conv2d)]:
            layer.weight[4:], layer.bias[4:] = 0.2 * layer.weight[:4], 0.2 * layer.bias[:4]
    copy, x = build(_halved(teacher.architecture)), samples((1, 8, 8))
    fill(copy, teacher, x, x)
    assert unexplained(copy, teacher, x) < 0.01


def _halved(graph: Architecture) -> Architecture:
    """Convolutions and the vector behind them with half the channels."""
    values = graph.to_dict()
    for node in values["nodes"][1:]:
        if node["operation"].startswith(("conv", "maxpool", "vector")):
            node["channels"] //= 2
    return Architecture.from_dict(values)


@pytest.mark.parametrize("n", [50, 3])  # points, more or fewer than the four values
def test_layers_are_fitted_by_least_squares_with_a_ridge_towards_the_prior(n: int) -> None:
    x, y = (torch.randn(2, n, size, generator=GENERATOR, dtype=torch.float64) + 1 for size in (4, 2))
    prior = torch.randn(2, 4, 2, generator=GENERATOR, dtype=torch.float64)
    found, offset = least_squares(x, y, prior, is_shifted=True)
    for system in range(2):
        centred, wanted = (each[system].numpy() - each[system].numpy().mean(0) for each in (x, y))
        root = np.sqrt(RIDGE * n * centred.var(0).mean())
        rows, values = np.vstack([centred, root * np.eye(4)]), np.vstack([wanted, root * prior[system].numpy()])
        np.testing.assert_allclose(found[system], np.linalg.lstsq(rows, values, rcond=None)[0], rtol=1e-9)
        means = y[system].mean(0) - x[system].mean(0) @ found[system]
        torch.testing.assert_close(offset[system, 0], means)
    assert least_squares(x, y, prior, is_shifted=False)[1].count_nonzero() == 0


def test_inputs_that_are_always_zero_keep_the_prior() -> None:
    x, prior = torch.zeros(1, 5, 2, dtype=torch.float64), torch.ones(1, 2, 1, dtype=torch.float64)
    found, _ = least_squares(x, torch.ones(1, 5, 1, dtype=torch.float64), prior, is_shifted=True)
    torch.testing.assert_close(found, prior)


def test_channels_that_the_teacher_does_not_have_stay_fresh() -> None:
    teacher = in_our_format(nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 2)), (9,))
    values = teacher.architecture.to_dict()
    values["nodes"][1]["channels"] = 6
    copy, fresh = (build(Architecture.from_dict(values), seed=3) for _ in range(2))
    fill(copy, teacher, samples((9,)), samples((9,)))
    own, before, given = (next(each.parameters()) for each in (copy, fresh, teacher))
    torch.testing.assert_close(own[:4], given, rtol=1e-3, atol=1e-4)
    assert torch.equal(own[4:], before[4:])


@pytest.mark.parametrize("classes", [None, (2, 0)])
def test_classes_are_those_that_were_chosen_and_fresh_if_nobody_says_which(classes: tuple[int, ...] | None) -> None:
    teacher = in_our_format(nn.Sequential(nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 3)), (9,))
    values = teacher.architecture.to_dict() | {"classes": 2}
    values["nodes"][-1]["channels"] = 2
    copy, fresh = (build(Architecture.from_dict(values), seed=3) for _ in range(2))
    fill(copy, teacher, samples((9,)), samples((9,)), classes)
    own, before, given = (list(each.parameters())[2] for each in (copy, fresh, teacher))
    torch.testing.assert_close(own, before if classes is None else given[[2, 0]], rtol=1e-3, atol=1e-4)


def test_one_sample_is_enough_for_finite_weights() -> None:
    teacher, x = in_our_format(vectors(), (9,)), samples((9,), 1)
    copy = slim(teacher, 200)
    fill(copy, teacher, x, x)
    assert all(bool(each.isfinite().all()) for each in copy.state_dict().values())


def test_a_network_of_a_space_teaches_its_slim_copies_too() -> None:
    nago = space("nago", top_nodes=3, middle_nodes=1, bottom_nodes=3, width=8)
    rng = np.random.default_rng(0)
    graph = nago.sample(nago.random_parameters(rng), Budget(), (1, 8, 8), 5, rng)
    teacher = build(graph, seed=1)
    teacher.train()(samples((1, 8, 8)))
    copy = slim(teacher.eval(), sum(each.numel() for each in teacher.parameters()) // 2)
    fill(copy, teacher, samples((1, 8, 8)), samples((1, 8, 8)))
    assert torch.equal(copy.merge_weights, teacher.merge_weights)
    assert all(bool(each.isfinite().all()) for each in copy.state_dict().values())


def test_a_depthwise_convolution_of_which_one_channel_is_left_has_the_teachers() -> None:
    make, shape = TEACHERS["depthwise"]
    teacher = in_our_format(make(), shape)
    graph = teacher.architecture
    channels = {12: 1, 8: 4}
    nodes = [replace(node, channels=channels.get(node.channels, node.channels)) for node in graph.nodes]
    copy = build(Architecture(graph.input_shape, graph.classes, tuple(nodes)))
    fill(copy, teacher, samples(shape), samples(shape))
    (own,) = [each for each in copy.modules() if isinstance(each, nn.Conv2d) and each.weight.shape == (1, 1, 3, 3)][1:]
    assert bool(own.weight.isfinite().all())
    assert unexplained(copy, teacher, samples(shape)) < 1


def test_nodes_that_do_anything_else_keep_fresh_weights() -> None:
    nodes = (
        Node("input", (), 1),
        Node("conv3x3_bn_relu", (0,), 8),
        Node("bn_attention", (1,), 8),
        Node("pool_classifier", (2,), 3),
    )
    graph = Architecture((1, 6, 6), 3, nodes)
    teacher, copy, fresh = build(graph, seed=1), build(graph, seed=2), build(graph, seed=2)
    fill(copy, teacher, samples((1, 6, 6)), samples((1, 6, 6)))
    of_attention = [key for key in fresh.state_dict() if key.startswith(graph.names[2])]
    assert all(torch.equal(copy.state_dict()[key], fresh.state_dict()[key]) for key in of_attention)
    assert not torch.equal(
        copy.get_parameter(f"{graph.names[1]}.0.weight"), fresh.get_parameter(f"{graph.names[1]}.0.weight")
    )


def test_large_maps_are_fitted_on_fewer_samples() -> None:
    def of(side: int) -> Architecture:
        nodes = Node("input", (), 1), Node("conv3x3_bn_relu", (0,), 64), Node("pool_classifier", (1,), 2)
        return Architecture((1, side, side), 2, nodes)

    assert most_samples(of(8)) == 2_000
    assert most_samples(of(512)) == 2
