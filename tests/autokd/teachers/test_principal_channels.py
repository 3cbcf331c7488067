from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from autokd.teachers.principal_channels import in_principal_channels
from autokd.teachers.slim_copy import fill
from search_spaces.architecture.format import Architecture, Node
from search_spaces.networks.network import Network, build

INPUT = Node("input", (), 2)


def samples(n: int = 200) -> Tensor:
    return torch.randn(n, 2, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def trained(*nodes: Node, seed: int = 3) -> Network:
    """A network of doubles, with statistics, scales and shifts as after a training."""
    network = build(Architecture((2, 6, 6), 3, (INPUT, *nodes)), seed=seed, dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    for module in network.modules():
        for name, weight in module.named_parameters(recurse=False):
            if isinstance(module, nn.BatchNorm2d) or name == "bias":
                weight.data += torch.randn(weight.shape, generator=generator) / 3
    return settled(network)


def settled(network: Network) -> Network:
    """The network with the statistics of the samples."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    network.train()(samples())
    return network.eval()


def bottlenecks(seed: int = 3) -> Network:
    """Two inverted bottlenecks around one map of five channels, as in MobileNet, of which the second is a sum."""
    return trained(
        Node("conv3x3_bn_relu", (0,), 8),
        Node("conv1x1_bn", (1,), 5),
        Node("conv1x1_bn_relu", (2,), 12),
        Node("depthwise3x3_bn_relu", (3,), 12),
        Node("conv1x1_bn", (4,), 5),
        Node("identity", (2, 5), 5, merge="sum"),
        Node("conv3x3_bn_relu", (6,), 9, stride=2),
        Node("pool_classifier", (7,), 3),
        seed=seed,
    )


def with_biases() -> Network:
    """A convolution that reads and writes the map to which it is added, all with biases, and a pool."""
    return trained(
        Node("conv3x3_bias", (0,), 6),
        Node("conv3x3_bias", (1,), 6),
        Node("identity", (1, 2), 6, merge="weighted_sum"),
        Node("pool", (3,), 6, stride=2),
        Node("conv1x1_bias_silu", (4,), 7),
        Node("pool_classifier", (5,), 3),
    )


def read_by(network: Network, *names: str) -> list[Tensor]:
    """What the first layers of some nodes read, `channels x values`."""
    found: list[Tensor] = []
    for name in names:
        layer = next(each for each in network.get_submodule(name).modules() if isinstance(each, nn.Conv2d))
        layer.register_forward_pre_hook(lambda _, given: found.append(given[0].transpose(0, 1).flatten(1)))
    network(samples())
    return found


@pytest.mark.parametrize("make", [bottlenecks, with_biases])
def test_a_turned_teacher_computes_the_same(make: Callable[[], Network]) -> None:
    teacher = make()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    turned = in_principal_channels(teacher, torch.split(samples(), 50))
    assert turned is not teacher
    assert sum(not torch.equal(value, before[name]) for name, value in turned.state_dict().items()) > 4
    torch.testing.assert_close(turned(samples()), teacher(samples()), rtol=1e-9, atol=1e-12)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


@torch.no_grad()
def test_channels_that_are_read_are_uncorrelated_and_fall_in_variance() -> None:
    turned = in_principal_channels(bottlenecks(), torch.split(samples(), 50))
    covariances = [values.cov(correction=0) for values in read_by(turned, "node3", "node7")]
    shared = sum(each / each.trace() for each in covariances)
    assert isinstance(shared, Tensor)
    variances = shared.diagonal()
    torch.testing.assert_close(shared, variances.diag(), rtol=0, atol=1e-9)
    assert variances.tolist() == sorted(variances.tolist(), reverse=True)


@torch.no_grad()
def test_scales_of_batch_norms_are_the_deviations_of_what_they_give() -> None:
    """A copy trains with the statistics of a batch, which must change nothing but by sampling."""
    turned = in_principal_channels(bottlenecks(), [samples()])
    (values,) = read_by(turned, "node3")
    norm = turned.get_submodule("node2.1")
    torch.testing.assert_close(norm.get_parameter("weight"), values.std(1, correction=0), rtol=1e-3, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("seed", range(5))
def test_a_slim_copy_leaves_less_of_its_teacher_unexplained(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = bottlenecks(seed)
    wide = teacher.architecture
    nodes = [replace(node, channels=2) if node.channels == 5 else node for node in wide.nodes]

    def unexplained() -> float:
        copy = build(replace(wide, nodes=tuple(nodes)), dtype=torch.float64)
        fill(copy, teacher, samples(), samples())
        wanted = teacher(samples())
        return float((copy.eval()(samples()) - wanted).square().sum() / (wanted - wanted.mean(0)).square().sum())

    turned = unexplained()
    monkeypatch.setattr("autokd.teachers.slim_copy.in_principal_channels", lambda given, _: given)
    assert turned < 0.9 * unexplained()


@pytest.mark.parametrize(
    "nodes",
    [
        (Node("conv1x1_bn_relu", (0,), 5), Node("conv1x1_bn", (1,), 5), Node("relu", (1, 2), 5, merge="sum")),
        (Node("conv1x1_bn", (0,), 5), Node("depthwise3x3_bn_relu", (1,), 5)),
        (Node("conv1x1_bn", (0,), 5), Node("global_gate", (1,), 5), Node("identity", (1, 2), 5, merge="product")),
        (Node("conv1x1_bn", (0,), 5), Node("conv1x1_bn", (0,), 4), Node("conv1x1_bn_relu", (1, 2), 9, merge="concat")),
        (Node("conv1x1_bn", (0,), 5), Node("relu_conv3x3_bn", (1,), 4), Node("relu", (2,), 4)),
    ],
    ids=["activated", "depthwise", "multiplied", "concatenated", "read after an activation"],
)
def test_maps_that_are_not_linear_are_left(nodes: tuple[Node, ...]) -> None:
    teacher = trained(*nodes, Node("pool_classifier", (len(nodes),), 3))
    assert in_principal_channels(teacher, [samples()]) is teacher
