from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from optuna.distributions import CategoricalDistribution, IntDistribution

from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture
from search_spaces.architecture.layers import Shape
from search_spaces.design.budget import Budget
from search_spaces.design.space import Parameters, Value
from search_spaces.errors import SpaceError
from search_spaces.networks.network import build
from search_spaces.spaces.enas_macro import MOST, EnasMacro

ARC = (
    "1", "1 1", "5 0 0", "5 0 0 0", "0 0 1 1 0", "1 1 0 0 0 0", "1 1 0 1 1 1 0", "3 0 0 1 0 1 1 1",
    "5 0 0 1 0 0 1 0 0", "1 1 1 0 0 0 0 1 0 0", "0 1 1 0 0 0 0 1 1 1 1", "0 0 1 1 1 1 0 1 1 0 0 1",
)  # fmt: skip
"""A network of 12 layers in the authors' form: an operation, then a bit for each output before, the stem first."""

NUMBERED = ("conv3", "sep3", "conv5", "sep5", "avg", "max")


def parameters_of(arc: tuple[str, ...]) -> dict[str, Value]:
    parameters: dict[str, Value] = {"layers": len(arc)}
    for layer, text in enumerate(arc, 1):
        operation, *bits = map(int, text.split())
        parameters[f"layer{layer}_operation"] = NUMBERED[operation]
        parameters |= {f"layer{layer}_skip_{source}": bit for source, bit in enumerate(bits)}
    return parameters


def sample(parameters: Parameters, width: float = 4, shape: Shape = (3, 8, 8)) -> Architecture:
    return EnasMacro(width=width).sample(parameters, Budget(), shape, 10, np.random.default_rng(0))


def drawn(seed: int, **ranges: Any) -> dict[str, Value]:
    space = EnasMacro(**ranges)
    return space.random_parameters(np.random.default_rng(seed)) | space.fixed


def test_a_network_has_the_parameters_counted_by_hand() -> None:
    kernels = {"conv3": 3, "conv5": 5, "sep3": 3, "sep5": 5}
    parameters = parameters_of(ARC)

    def conv(before: int, after: int, kernel: int = 1) -> int:
        return kernel**2 * before * after + 2 * after

    def operation(name: str, width: int) -> int:
        if name.startswith("sep"):
            return kernels[name] ** 2 * width + conv(width, width)
        return conv(width, width, kernels[name]) if name in kernels else 0

    widths = [36] * 5 + [72] * 4 + [144] * 4  # the stem, then the layers
    expected = conv(3, 36, 3) + 144 * 10 + 10
    bridges = set()
    for layer, text in enumerate(ARC, 1):
        width, bits = widths[layer], text.split()[1:]
        sources = [source for source, bit in enumerate(bits) if bit == "1"]
        expected += conv(width, width) + operation(str(parameters[f"layer{layer}_operation"]), width)
        expected += conv((len(sources) + 1) * width, width) if layer > 1 else 0
        bridges |= {(source, width) for source in [*sources, layer - 1] if widths[source] != width}
    expected += sum(conv(widths[source], width) for source, width in bridges)
    assert cost(sample(parameters, 36, (3, 32, 32))).params == expected


def test_twelve_layers_have_the_published_number_of_networks() -> None:
    """6 ** L times 2 ** (L (L - 1) / 2) for L layers."""
    sizes = []
    for dimension in EnasMacro(layers=MOST).distributions().values():
        distribution = dimension.distribution
        assert isinstance(distribution, CategoricalDistribution | IntDistribution)
        many = isinstance(distribution, CategoricalDistribution)
        sizes.append(len(distribution.choices) if many else distribution.high + 1)
    assert prod(sizes) == 6**12 * 2**66


def test_absent_layers_have_no_parameters() -> None:
    parameters = drawn(0, layers=5)
    assert max(int(name.removeprefix("layer").split("_")[0]) for name in parameters if name != "layers") == 5
    with pytest.raises(SpaceError, match="`layer6_operation` is not active for layers=5"):
        EnasMacro().complete(parameters | {"layer6_operation": "max"})


def test_a_layer_joins_its_operation_and_its_skips_in_their_order() -> None:
    parameters = drawn(0, layers=6) | {f"layer6_skip_{source}": source % 2 for source in range(5)}
    architecture = sample(parameters)
    place = {name: number for number, name in enumerate(architecture.names)}
    node = architecture.nodes[place["stage3_layer6"]]
    names = [architecture.names[source] for source in node.inputs]
    assert (node.operation, node.merge) == ("relu_conv1x1_bn", "concat")
    assert names == ["layer1_to_stage3", "layer3_to_stage3", "stage3_layer6_operation"]
    (squeezed,) = architecture.nodes[place["stage3_layer6_operation"]].inputs
    assert architecture.nodes[squeezed].inputs == (place["stage3_layer5"],)


@pytest.mark.parametrize("layers", range(3, MOST + 1))
def test_the_resolution_halves_after_a_third_and_two_thirds_of_the_layers(layers: int) -> None:
    architecture = sample(drawn(1, layers=layers), 4, (3, 32, 32))
    stages = []
    for node, shape in zip(architecture.nodes, architecture.shapes(), strict=True):
        if node.name.endswith("_operation"):
            stages.append(node.stage)
            assert shape == (4 * 2**node.stage, 32 // 2**node.stage, 32 // 2**node.stage)
    third = layers // 3
    assert sorted(stages) == [0] * third + [1] * third + [2] * (layers - 2 * third)


def test_no_output_is_projected_to_a_stage_twice_and_every_bridge_leads_to_a_lower_resolution() -> None:
    everything = drawn(0, layers=MOST) | {name: 1 for name in drawn(0, layers=MOST) if "_skip_" in name}
    nodes = sample(everything).nodes
    bridges = [node for node in nodes if "_to_stage" in node.name]
    assert len(bridges) == 5 + 9  # the stem and 4 layers to stage 2; those and 4 more to stage 3
    assert len({(node.inputs, node.stage) for node in bridges}) == len(bridges)
    assert all(node.stride == 2 ** (node.stage - nodes[node.inputs[0]].stage) > 1 for node in bridges)


def test_every_parameter_changes_the_network() -> None:
    parameters = drawn(0, layers=6)
    networks = {sample(parameters).digest}
    for name, value in parameters.items():
        if "_skip_" in name:
            networks.add(sample(parameters | {name: 1 - int(value)}).digest)
        elif name != "layers":
            networks.add(sample(parameters | {name: "sep5" if value != "sep5" else "max"}).digest)
    assert len(networks) == len(parameters)


def test_a_family_is_described_by_its_layers_and_their_skips() -> None:
    assert EnasMacro().describe(parameters_of(ARC[:5])) == "sep3 sep3(0) max max conv3(1,2)"


@pytest.mark.parametrize(("size", "resolutions"), [(1, (1, 1, 1)), (39, (39, 20, 10)), (224, (56, 28, 14))])
def test_large_inputs_enter_at_a_quarter_of_their_resolution(size: int, resolutions: tuple[int, ...]) -> None:
    architecture = sample(drawn(0), shape=(3, size, size))
    found = {
        node.stage: shape[1:]
        for node, shape in zip(architecture.nodes, architecture.shapes(), strict=True)
        if "_layer" in node.name
    }
    assert found == {stage: (side, side) for stage, side in enumerate(resolutions)}


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 100), (2, 17), (12,)])
def test_signals_vectors_and_single_pixels_have_networks(shape: Shape) -> None:
    network = build(sample(drawn(1), shape=shape)).eval()
    assert network(torch.zeros(2, *shape)).shape == (2, 10)
