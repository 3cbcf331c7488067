from collections import Counter

import numpy as np
import pytest

from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture
from search_spaces.design.budget import Budget
from search_spaces.design.space import Parameters
from search_spaces.errors import SpaceError
from search_spaces.spaces.randwire import RandWire

WS: Parameters = {"generator": "ws", "ws_neighbours": 4, "ws_probability": 0.75}


def sample(space: RandWire, seed: int, shape: tuple[int, int, int], classes: int = 10) -> Architecture:
    return space.sample(WS, Budget(), shape, classes, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("regime", "width", "params", "macs"), [("small", 78, 5.6e6, 583e6), ("regular", 109, 31.9e6, 4.0e9)]
)
def test_costs_at_224_pixels_equal_the_published_ones(regime: str, width: int, params: float, macs: float) -> None:
    """Xie et al. 2019, tables 1 to 3; the paper leaves about 6 % open in stem, head and source nodes."""
    last = {"small": 4, "regular": 8}[regime] * width
    space = RandWire(regime=regime, width=width, head_ratio=1280 / last)
    costs = [cost(sample(space, seed, (3, 224, 224), 1000)) for seed in range(10)]
    assert np.mean([each.params for each in costs]) == pytest.approx(params, rel=0.06)
    assert np.mean([each.macs for each in costs]) == pytest.approx(macs, rel=0.06)


@pytest.mark.parametrize(
    ("regime", "size", "resolutions"),
    [
        ("small", 224, (28, 14, 7)),
        ("small", 28, (14, 7, 4)),
        ("small", 32, (16, 8, 4)),
        ("small", 8, (4, 2, 1)),
        ("regular", 224, (56, 28, 14, 7)),
        ("regular", 32, (16, 8, 4, 2)),
    ],
)
def test_sources_of_a_stage_halve_the_resolution(regime: str, size: int, resolutions: tuple[int, ...]) -> None:
    architecture = sample(RandWire(regime=regime, width=4), 0, (3, size, size))
    shapes = architecture.shapes()
    for shape, node in zip(shapes, architecture.nodes, strict=True):
        if "_node" in node.name:
            assert shape[1:] == (resolutions[node.stage],) * 2


def test_the_regular_regime_has_half_the_nodes_in_its_first_stage() -> None:
    architecture = sample(RandWire(regime="regular", nodes=20, width=4), 0, (1, 28, 28))
    counts = Counter(node.stage for node in architecture.nodes if "_node" in node.name)
    assert counts == {0: 10, 1: 20, 2: 20, 3: 20}


def test_widths_double_from_stage_to_stage() -> None:
    architecture = sample(RandWire(width=10), 0, (1, 28, 28))
    widths = {node.stage: node.channels for node in architecture.nodes if "_node" in node.name}
    assert widths == {0: 10, 1: 20, 2: 40}


def test_every_stage_is_its_own_draw() -> None:
    architecture = sample(RandWire(width=4), 0, (1, 28, 28))
    names = architecture.names
    wirings = []
    for stage in ("stage1", "stage2", "stage3"):
        inner = [node for node in architecture.nodes if node.name.startswith(f"{stage}_node") and node.stride == 1]
        wirings.append({(node.name[6:], tuple(sorted(names[i][6:] for i in node.inputs))) for node in inner})
    assert wirings[0] != wirings[1] != wirings[2] != wirings[0]


def test_merges_of_several_edges_and_no_others_have_weights() -> None:
    for node in sample(RandWire(width=4), 0, (1, 28, 28)).nodes:
        if "_node" in node.name:
            assert node.merge == ("weighted_sum" if len(node.inputs) > 1 else "none")
        elif node.name.endswith("_output"):
            assert node.merge == "mean"


def test_descriptions_state_the_generator_and_its_parameters() -> None:
    assert RandWire().describe(WS) == "WS(32,4,0.75)"
    assert RandWire(nodes=8).describe({"generator": "ba", "ba_edges": 7}) == "BA(8,7): one member"
    assert RandWire(nodes=8).describe({"generator": "er", "er_probability": 0.25}) == "ER(8,0.25)"


def test_more_edges_than_nodes_are_rejected_by_the_constructor() -> None:
    with pytest.raises(SpaceError, match="ba_edges < nodes"):
        RandWire(nodes=7)
    with pytest.raises(SpaceError, match="ba_edges < nodes"):
        RandWire(nodes=10, regime="regular")
    assert RandWire(nodes=7, generator=("er", "ws"))
    assert RandWire(nodes=7, ba_edges=(1, 3))


@pytest.mark.parametrize("options", [{"regime": "tiny"}, {"head_ratio": -1}, {"nodes": 0}, {"operation": "x"}])
def test_invalid_options_are_rejected(options: dict[str, object]) -> None:
    with pytest.raises(SpaceError):
        RandWire(**options)  # type: ignore[arg-type]
