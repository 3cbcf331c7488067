from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search_spaces.architecture.format import Architecture, Node
from search_spaces.design.budget import Budget
from search_spaces.design.open_graph import OpenGraph
from search_spaces.design.registry import space
from search_spaces.errors import SpaceError
from search_spaces.networks.traced import trace

SHAPE = (1, 8, 8)
SHUFFLED: dict[str, Any] = {"stage1_block": "basic", **{f"stage{stage}_block": "shuffle" for stage in (2, 3, 4)}}
SHUFFLED |= {f"stage{stage}_depth": 1 for stage in (2, 3, 4)}  # later ones slice
MIXED = ("bottleneck", "convnext", "attention", "pooling")


def network(*nodes: Node, shape: tuple[int, ...] = (4, 6, 6)) -> Architecture:
    last = Node("pool_classifier", (len(nodes),), 2, stage=9)
    return Architecture(shape, 2, (Node("input", (), shape[0]), *nodes, last))


def refilled(graph: Architecture) -> Architecture:
    """The graph after its widths were opened and chosen as they were."""
    opened = OpenGraph.of(graph)
    return opened.blueprint(graph.input_shape, graph.classes, opened.widths, "").fill(opened.widths)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *(("blocks", {f"stage{stage}_block": block for stage in (1, 2, 3, 4)}) for block in ("basic", "mbconv")),
        ("blocks", {f"stage{stage}_block": block for stage, block in enumerate(MIXED, 1)}),
        ("blocks", SHUFFLED),
        ("darts", {}),
        ("enas-macro", {}),
        ("enas-micro", {}),
        *(("nago", {"merge": merge}) for merge in ("concat", "attention")),
        ("nasbench201", {"pruned": False}),
        ("randwire", {}),
        *(("sequential", {"view": view}) for view in ("series", "vector")),
    ],
)
def test_networks_of_the_spaces_can_be_opened_and_filled_again(name: str, options: dict[str, Any]) -> None:
    found = space(name, **options)
    rng = np.random.default_rng(0)
    drawn = found.sample(found.random_parameters(rng), Budget(params=60_000), SHAPE, 10, rng)
    assert refilled(drawn).digest == drawn.digest


def test_widths_that_meet_or_are_kept_are_one_and_joined_ones_follow() -> None:
    opened = OpenGraph.of(
        network(
            Node("conv1x1_bn", (0,), 3),
            Node("conv3x3_bn", (0,), 3),
            Node("relu", (1, 2), 3, merge="sum"),
            Node("conv1x1_bn", (3,), 5),
            Node("identity", (3, 4), 8, merge="concat"),
            Node("vector", (5,), 8 * 36),
            Node("linear", (6,), 7),
        )
    )
    assert opened.free == (1, 4, 7)
    assert opened.widths == (3, 5, 7)
    assert opened.group_of[:4] == (0, 1, 1, 1)
    wide = opened.blueprint((4, 6, 6), 2, (1, 1, 1), "").fill((10, 2, 4))
    assert [node.channels for node in wide.nodes] == [4, 10, 10, 10, 2, 12, 12 * 36, 4, 2]


def test_maps_that_are_shuffled_together_have_one_width() -> None:
    halves = Node("conv1x1_bn", (0,), 3, name="a"), Node("conv1x1_bn", (0,), 3, name="b")
    opened = OpenGraph.of(network(*halves, Node("channel_shuffle", (1, 2), 6, merge="concat")))
    assert opened.widths == (3,)
    wide = opened.blueprint((4, 6, 6), 2, (1,), "").fill((5,))
    assert [node.channels for node in wide.nodes] == [4, 5, 5, 10, 2]


@pytest.mark.parametrize(("first", "second"), [(2, 4), (6, None)])
def test_maps_that_are_shuffled_but_are_no_halves_are_refused(first: int, second: int | None) -> None:
    parts = [Node("conv1x1_bn", (0,), width) for width in (first, second) if width]
    merged = Node("channel_shuffle", tuple(range(1, len(parts) + 1)), 6, merge="concat" if second else "none")
    with pytest.raises(SpaceError, match=r"The width of 'node\d' cannot be chosen: channel_shuffle needs equal halves"):
        OpenGraph.of(network(*parts, merged))


def test_stages_are_those_of_the_first_nodes_without_gaps() -> None:
    nodes = Node("conv1x1_bn", (0,), 3, stage=2), Node("conv1x1_bn", (1,), 3, stage=7), Node("relu", (2,), 3, stage=8)
    assert OpenGraph.of(network(*nodes)).stages == (0, 1)


def test_known_widths_of_a_group_are_averaged_and_others_are_the_networks() -> None:
    nodes = Node("conv1x1_bn", (0,), 3, name="a"), Node("conv1x1_bn", (0,), 3, name="b")
    joined = Node("conv1x1_bn", (1, 2), 5, merge="sum", name="c")
    assert OpenGraph.of(network(*nodes, joined)).mean_widths({"a": 1, "b": 2}) == (1.5, 5)


class Joined(nn.Module):
    """A concatenation that must be as wide as the input."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.last = nn.Linear(4, 2), nn.Linear(4, 2), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x + torch.cat([self.one(x), self.two(x)], 1))


@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (Joined(), (4,), "The width of 'cat' cannot be chosen: it follows from several others, but must equal"),
        (nn.Sequential(nn.Flatten(), nn.Linear(9, 3)), (1, 3, 3), "no width that could be chosen"),
        (nn.Sequential(nn.ReLU(), nn.BatchNorm1d(4)), (4,), "outputs must be as many as its inputs"),
    ],
)
def test_widths_that_cannot_be_chosen_are_refused(module: nn.Module, shape: tuple[int, ...], message: str) -> None:
    graph = trace(module.eval(), torch.randn(2, *shape)).architecture
    with pytest.raises(SpaceError, match=message):
        OpenGraph.of(graph)


def test_a_part_of_the_channels_cannot_be_chosen() -> None:
    with pytest.raises(SpaceError, match="The width of 'node2' cannot be chosen: first_channels takes a part"):
        OpenGraph.of(network(Node("conv1x1_bn", (0,), 6), Node("first_channels", (1,), 3)))
