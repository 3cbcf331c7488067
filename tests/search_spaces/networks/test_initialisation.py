from math import inf, isfinite, log, pi

import pytest
import torch
from torch import Tensor, nn

from autokd.testing.toys import relative_gradients
from search_spaces.architecture.format import Architecture, Node
from search_spaces.networks import initialisation
from search_spaces.networks.initialisation import SHALLOW, gradient_growth, initialise, relu_depths, relu_shift
from search_spaces.networks.network import Network, build

STEM, HEAD = Node("conv1x1_bn", (0,), 4, name="stem"), "relu_conv1x1_bn"


def network(shape: tuple[int, ...], *inner: Node) -> Architecture:
    """Network with a classifier after the given nodes, of which the first reads the sample."""
    last = Node("classifier", (len(inner),), 3, name="classifier")
    return Architecture(shape, 3, (Node("input", (), shape[0], name="sample"), *inner, last))


def chain(length: int, width: int, shape: tuple[int, ...] = (6,), operation: str = "relu_conv1x1_bn") -> Architecture:
    """Stem, chain of operations, and head of four times the width."""
    nodes = [Node("conv1x1_bn", (0,), width, name="stem")]
    nodes += [Node(operation, (number,), width, name=f"layer{number}") for number in range(1, length + 1)]
    return network(shape, *nodes, Node(HEAD, (length + 1,), 4 * width, name="head"))


def samples(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def norms_of(built: Network, shape: tuple[int, ...]) -> list[float]:
    """Relative gradients of the kernels at the first step; infinite where they are not finite."""
    norms = relative_gradients(built, samples(64, *shape), torch.arange(64) % 3).values()
    return [norm if norm == norm else inf for norm in norms]


@pytest.mark.parametrize("shift", [0.0, 0.4, 1.5])
def test_the_growth_of_gradients_is_that_of_numeric_integration(shift: float) -> None:
    z = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    density = torch.exp(-(z**2) / 2) / (2 * pi) ** 0.5
    passed = (z + shift).relu()
    mean = torch.trapezoid(passed * density, z)
    variance = torch.trapezoid((passed - mean) ** 2 * density, z)
    passing = torch.trapezoid((z + shift > 0) * density, z)
    assert gradient_growth(shift) == pytest.approx(float(passing / variance), rel=1e-4)


def test_without_a_shift_gradients_grow_as_published() -> None:
    assert gradient_growth(0.0) == pytest.approx(pi / (pi - 1))


@pytest.mark.parametrize("depth", [11.0, 60.0, 1000.0])
def test_with_its_shift_a_deep_network_grows_gradients_like_a_shallow_one(depth: float) -> None:
    assert gradient_growth(relu_shift(depth)) ** depth == pytest.approx((pi / (pi - 1)) ** SHALLOW, rel=1e-2)


def test_depths_count_activations_and_a_little_more_where_layers_are_narrow() -> None:
    depths = relu_depths(chain(3, 5))
    assert depths[:5] == pytest.approx([0, 0, 2, 4, 6])  # 1 + 5 / 5 each
    assert relu_depths(chain(3, 5, (6, 10, 10)))[4] == pytest.approx(3 * 1.01)


def test_a_merge_has_the_mean_depth_of_its_inputs() -> None:
    inputs = STEM, Node(HEAD, (1,), 4, name="a"), Node(HEAD, (2,), 4, name="b")
    for merge in ("sum", "mean", "weighted_sum", "concat"):
        width = 12 if merge == "concat" else 4
        merged = network((6,), *inputs, Node("identity", (1, 2, 3), width, merge=merge, name="merged"))
        assert relu_depths(merged)[4] == pytest.approx((0 + 2.25 + 4.5) / 3)


def test_in_a_residual_network_depth_grows_with_the_logarithm_of_the_blocks() -> None:
    nodes, last = [STEM], 1
    for block in range(100):
        nodes.append(Node(HEAD, (last,), 4, name=f"branch{block}"))
        nodes.append(Node("identity", (last, len(nodes)), 4, merge="sum", name=f"sum{block}"))
        last = len(nodes)
    depth = relu_depths(network((6,), *nodes))[last]
    assert depth == pytest.approx(2.25 * sum(1 / (block + 1) for block in range(1, 101)))


def test_a_relu_on_mostly_positive_values_counts_less() -> None:
    once, twice = network((6,), STEM, Node(HEAD, (1,), 4)), network((6,), STEM, Node("relu", (1,), 4, name="relu"))
    doubled = network((6,), STEM, Node("relu", (1,), 4, name="relu"), Node("relu", (2,), 4, name="again"))
    assert relu_depths(once)[2] == relu_depths(twice)[2] == pytest.approx(2.25)
    mean, variance = (2 * pi) ** -0.5, (1 - 1 / pi) / 2
    again = log(gradient_growth(mean / variance**0.5)) / log(pi / (pi - 1))
    assert relu_depths(doubled)[3] == pytest.approx(2.25 + again + 1.25)
    assert 0 < again < 0.7


def test_a_relu_on_values_far_above_0_changes_nothing() -> None:
    assert gradient_growth(7.99) == pytest.approx(1)
    assert gradient_growth(1e9) == 1


def test_a_deep_residual_network_without_batch_norm_has_a_depth() -> None:
    nodes = [Node("conv1x1_relu", (0,), 4, name="stem")]
    for _ in range(100):
        last = len(nodes)
        nodes += [Node("conv1x1_relu", (last,), 4), Node("conv1x1", (last + 1,), 4)]
        nodes.append(Node("relu", (last, last + 2), 4, merge="sum"))
    architecture = network((6,), *nodes)
    depths = relu_depths(architecture)
    assert all(isfinite(depth) for depth in depths)
    late = depths[-2] - depths[-5]  # of a block in which ReLUs are linear; half of its values pass one of them more
    assert late == pytest.approx(1.25 + 1.25 / 2)
    assert all(weight.isfinite().all() for weight in build(architecture).parameters())


def test_a_shallow_network_starts_as_usual() -> None:
    shallow = build(chain(3, 200)).state_dict()
    assert float(shallow["layer2.1.weight"].std()) == pytest.approx((2 / 200) ** 0.5, rel=0.02)
    assert float(shallow["layer2.1.weight"].diagonal().mean()) == pytest.approx(0, abs=0.03)
    assert not shallow["layer2.2.bias"].any()


def test_kernels_of_a_deep_network_are_partly_identities_of_the_same_norm() -> None:
    architecture = chain(40, 32, (6, 4, 4), "relu_conv3x3_bn")
    share = SHALLOW / relu_depths(architecture)[-1]
    weight = build(architecture).layer7[1].weight.detach()
    assert float(weight.norm()) == pytest.approx((2 * 32) ** 0.5, rel=0.05)
    diagonal = weight[:, :, 1, 1].diagonal()
    assert float(diagonal.mean()) == pytest.approx(((1 - share) * 2) ** 0.5, rel=0.05)
    rest = weight - torch.diag(diagonal)[:, :, None, None] * torch.eye(9)[4].view(3, 3)
    assert float(rest.square().sum()) == pytest.approx(share * 2 * 32, rel=0.05)


def test_identities_copy_inputs_in_turn_and_sum_what_is_more() -> None:
    wider = initialisation._identity(torch.empty(4, 2))
    assert wider.tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    assert torch.equal(initialisation._identity(torch.empty(2, 4)), wider.T)
    depthwise = initialisation._identity(torch.empty(3, 1, 3, 3))
    assert torch.equal(nn.functional.conv2d(samples(1, 3, 4, 4), depthwise, padding=1, groups=3), samples(1, 3, 4, 4))


def test_what_the_classifier_reads_without_a_further_batch_norm_starts_as_usual() -> None:
    architecture = chain(40, 32)
    deep = build(architecture).requires_grad_(False)
    shift = relu_shift(relu_depths(architecture)[-1])
    assert deep.layer7[2].bias.tolist() == pytest.approx([shift] * 32)
    assert not deep.head[2].bias.any()
    assert float(deep.head[1].weight[:32].diagonal().mean()) == pytest.approx(0, abs=0.05)
    assert float(deep.stem[0].weight[:6].diagonal().mean()) == pytest.approx(0, abs=0.4)


@pytest.mark.parametrize(("length", "width"), [(60, 1), (60, 16), (400, 1), (400, 4)])
def test_gradients_of_a_deep_chain_neither_explode_nor_vanish(length: int, width: int) -> None:
    norms = norms_of(build(chain(length, width)), (6,))
    assert max(norms) < 1
    assert norms[0] > 0.001  # of the stem


def test_without_this_initialisation_they_explode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initialisation, "SHALLOW", 1e9)
    assert max(norms_of(build(chain(60, 16)), (6,))) > 100


def test_initial_weights_have_the_stated_spread() -> None:
    wide = Architecture(
        (1, 4, 4), 2, (Node("input", (), 1), Node("sepconv3x3_bn", (0,), 4000), Node("classifier", (1,), 2))
    )
    built = build(wide).requires_grad_(False)
    pointwise = built.node1[1].weight
    assert float(pointwise.std()) == pytest.approx((2 / 4000) ** 0.5, rel=0.05)
    assert float(built.node2[4].weight.std()) == pytest.approx(0.01, rel=0.05)
    assert float(built.node2[4].bias.abs().max()) == 0
    assert torch.equal(built.node1[2].weight, torch.ones(4000))


def test_initialise_overwrites_trained_weights_and_statistics() -> None:
    gated = Node("relu_conv3x3_bn", (1, 2), 4, merge="weighted_sum", name="gated")
    described = network((2, 6, 6), STEM, Node("conv3x3_bn", (0,), 4, name="other"), gated)
    built = build(described, 1)
    assert built.merge_weights.tolist() == [1.0, 1.0]
    built(samples(4, 2, 6, 6))
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(1)
    initialise(built, described, 1)
    fresh = build(described, 1).state_dict()
    assert all(torch.equal(value, fresh[name]) for name, value in built.state_dict().items())


def test_linear_layers_inside_the_network_are_initialised_like_convolutions() -> None:
    nodes = Node("conv3x3_bn", (0,), 50, name="stem"), Node("bn_mlp", (1,), 50, name="mlp")
    mlp = build(network((6,), *nodes), seed=1).requires_grad_(False)
    assert float(mlp.stem[0].weight.std()) == pytest.approx((2 / 50) ** 0.5, rel=0.1)
    assert float(mlp.mlp[1].weight.std()) == pytest.approx((2 / 200) ** 0.5, rel=0.1)  # it has a bias
    assert float(mlp.classifier[-1].weight.abs().max()) < 0.05
