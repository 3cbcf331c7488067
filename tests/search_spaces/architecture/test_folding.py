from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from search_spaces.architecture.cost import cost
from search_spaces.architecture.folding import fold, fold_weights
from search_spaces.architecture.format import Architecture, Node
from search_spaces.design.budget import Budget
from search_spaces.design.space import Space
from search_spaces.networks.network import Network, build
from search_spaces.networks.source import source
from search_spaces.spaces.nago import Nago
from search_spaces.spaces.randwire import RandWire


def draw(space: Space, shape: tuple[int, ...]) -> Architecture:
    rng = np.random.default_rng(0)
    return space.sample(space.random_parameters(rng), Budget(params=40_000), shape, 10, rng)


MIXED = (
    Node("input", (), 2, name="image"),
    Node("conv3x3_bn", (0,), 8, name="stem"),
    Node("bn_attention", (1,), 8, name="attention"),
    Node("bn_average3x3", (2,), 8, name="average"),
    Node("depthwise7x7_bn_mlp", (3,), 8, name="convnext"),
    Node("conv3x3_bias_bn_relu", (4,), 8, name="tutorial"),
    Node("relu_sepconv5x5_bn_twice", (5,), 6, 2, name="twice"),
    Node("bn_relu_classifier", (6,), 3, name="classifier"),
)
ARCHITECTURES = {
    "nago": draw(Nago(top_nodes=(3, 5), middle_nodes=(1, 3)), (1, 14, 14)),
    "nago on signals": draw(Nago(top_nodes=(3, 5), middle_nodes=(1, 3)), (2, 30)),
    "nago on vectors": draw(Nago(top_nodes=(3, 5), middle_nodes=(1, 3)), (9,)),
    "randwire": draw(RandWire(nodes=10), (3, 16, 16)),
    "mixed": Architecture((2, 9, 8), 3, MIXED),
}
each = pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)


def trained(architecture: Architecture) -> Network:
    """Network whose batch norms have random statistics, scales and shifts."""
    network = build(architecture, seed=1, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                for value in (module.weight, module.bias, module.running_mean, module.running_var):
                    assert isinstance(value, torch.Tensor)
                    value.copy_(torch.rand(value.shape, generator=generator, dtype=torch.float64) + 0.5)
    return network.eval()


@each
def test_the_folded_network_computes_the_same(architecture: Architecture) -> None:
    network = trained(architecture)
    folded = build(fold(architecture), dtype=torch.float64).eval()
    folded.load_state_dict(fold_weights(architecture, network.state_dict()))
    samples = torch.randn(3, *architecture.input_shape, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(folded(samples), network(samples), rtol=1e-9, atol=1e-12)


@each
def test_no_batch_norm_remains_after_a_convolution(architecture: Architecture) -> None:
    folded = build(fold(architecture))
    for module in folded.modules():
        if isinstance(module, nn.Sequential):
            kinds = [type(part).__name__ for part in module]
            pairs = pairwise(kinds)
            assert not any(
                first.startswith(("Conv", "Linear")) and second.startswith("Batch") for first, second in pairs
            )


@each
def test_the_folded_network_has_fewer_parameters_and_the_same_macs(architecture: Architecture) -> None:
    before, after = cost(architecture), cost(fold(architecture))
    norms = sum(part.num_features for part in build(architecture).modules() if isinstance(part, nn.BatchNorm2d))
    assert after.params < before.params or not norms
    assert after.model_bytes < before.model_bytes
    assert after.macs == before.macs
    assert fold(fold(architecture)) == fold(architecture)


@each
def test_the_generated_source_loads_the_folded_weights(architecture: Architecture) -> None:
    network = trained(architecture).float()
    names: dict[str, type[nn.Module]] = {}
    exec(source(fold(architecture)), names)
    student = names["Student"]().eval()
    student.load_state_dict(fold_weights(architecture, network.state_dict()))
    samples = torch.randn(3, *architecture.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(student(samples), network(samples), rtol=1e-3, atol=1e-4)
