import re
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture
from search_spaces.design.budget import Budget
from search_spaces.design.space import Value
from search_spaces.errors import SpaceError
from search_spaces.networks.network import build
from search_spaces.spaces.nago import OPERATIONS, Nago, stage_of

BUDGET = Budget(params=200_000)


def sample(space: Nago, seed: int, shape: tuple[int, ...] = (1, 28, 28), **parameters: Value) -> Architecture:
    rng = np.random.default_rng(seed)
    return space.sample(parameters, BUDGET, shape, 10, rng)


def operations(architecture: Architecture) -> list[int]:
    """Indices of the operation nodes of all cells."""
    return [i for i, name in enumerate(architecture.names) if re.search(r"_node\d+$", name)]


def small(**ranges: Value) -> Nago:
    """Space in which all dimensions are fixed except the given ranges."""
    usual: dict[str, Value] = {
        "top_nodes": 5,
        "top_neighbours": 2,
        "top_probability": 0.5,
        "middle_nodes": 3,
        "middle_probability": 0.5,
        "bottom_nodes": 4,
        "bottom_neighbours": 2,
        "bottom_probability": 0.5,
    }
    return Nago(**(usual | ranges))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "resolutions"),
    [(8, (8, 4, 2)), (28, (28, 14, 7)), (32, (32, 16, 8)), (39, (39, 20, 10)), (64, (16, 8, 4)), (224, (56, 28, 14))],
)
def test_every_stage_has_half_the_resolution_of_the_one_before(size: int, resolutions: tuple[int, ...]) -> None:
    for seed in range(5):
        architecture = sample(small(), seed, (3, size, size))
        shapes = architecture.shapes()
        for number in operations(architecture):
            stage = architecture.nodes[number].stage
            assert shapes[number][1:] == (resolutions[stage],) * 2
        assert {architecture.nodes[number].stage for number in operations(architecture)} == {0, 1, 2}


def test_ranges_that_allow_networks_of_too_many_nodes_are_rejected() -> None:
    wanted = r"`top_nodes \* middle_nodes \* bottom_nodes <= 30,000` must hold, but got up to 1,000 \* 1,000 \* 10 = "
    with pytest.raises(SpaceError, match=rf"^{wanted}10,000,000\."):
        Nago(top_nodes=(3, 1000), middle_nodes=1000)
    assert Nago(top_nodes=1000, middle_nodes=(1, 3)).largest("middle_nodes") == 3


@pytest.mark.parametrize("blocks", range(3, 21))
def test_stages_are_thirds_of_the_blocks_and_earlier_ones_take_the_remainder(blocks: int) -> None:
    counts = Counter(stage_of(block, blocks) for block in range(blocks))
    assert sorted(counts) == [0, 1, 2]
    assert max(counts.values()) - min(counts.values()) <= 1
    assert counts[0] == max(counts.values())


def test_widths_are_one_two_four_up_to_rounding_and_single_channels() -> None:
    architecture = sample(small(), 0)
    widths = {node.stage: node.channels for node in architecture.nodes if "_node" in node.name}
    assert widths[1] == pytest.approx(2 * widths[0], abs=2)
    assert widths[2] == pytest.approx(4 * widths[0], abs=3)
    head = next(node for node in architecture.nodes if node.name == "head")
    assert head.channels == pytest.approx(2 * widths[2], abs=3)


def test_samples_of_a_family_differ_and_equal_seeds_give_equal_samples() -> None:
    space = small(bottom_nodes=8)
    assert len({sample(space, seed).digest for seed in range(30)}) == 30
    assert sample(space, 7) == sample(space, 7)


def test_cells_of_one_network_are_independent_draws() -> None:
    architecture = sample(small(bottom_nodes=10), 0)
    wirings = set()
    for block in range(5):
        prefix = next(name for name in architecture.names if f"block{block + 1}_cell1_node1" in name)[:-1]
        place = {name: i for i, name in enumerate(architecture.names)}
        wiring = []
        for node in range(1, 11):
            inputs = architecture.nodes[place[f"{prefix}{node}"]].inputs
            wiring.append(tuple(sorted(architecture.names[i].removeprefix(prefix) for i in inputs)))
        wirings.add(tuple(wiring[1:]))
    assert len(wirings) == 5


@pytest.mark.parametrize("level", ["top", "bottom"])
def test_only_even_neighbours_are_offered(level: str) -> None:
    distribution = Nago().distributions()[f"{level}_neighbours"].distribution
    assert {value for value in range(20) if distribution._contains(value)} == {2, 4}
    with pytest.raises(SpaceError, match="plus a multiple of 2"):
        Nago(**{f"{level}_neighbours": 3})


def test_a_family_of_complete_graphs_is_described_as_having_one_member() -> None:
    space = small(top_nodes=5, top_neighbours=4, middle_nodes=1, bottom_nodes=5, bottom_neighbours=4)
    assert space.single_member({})
    assert space.describe({}) == "WS(5,4,any) of ER(1,any) of WS(5,4,any): one member"
    assert len({sample(space, seed).digest for seed in range(20)}) == 1


def test_the_best_published_family_is_described_and_has_many_members() -> None:
    space = small(
        top_nodes=8, top_probability=0.6, middle_nodes=1, bottom_nodes=5, bottom_neighbours=4, bottom_probability=0.2
    )
    assert space.describe({}) == "WS(8,2,0.6) of ER(1,any) of WS(5,4,any)"
    assert not space.single_member({})


@pytest.mark.parametrize(("level", "nodes"), [("top", 3), ("top", 4), ("bottom", 3), ("bottom", 4)])
def test_more_neighbours_than_nodes_is_the_complete_graph(level: str, nodes: int) -> None:
    space = small(**{f"{level}_nodes": nodes, f"{level}_neighbours": 4})
    assert sample(space, 0)
    assert f"WS({nodes},4,any)" in space.describe({})


def test_sparse_middle_graphs_never_fail() -> None:
    space = small(middle_nodes=10, middle_probability=0.1, bottom_nodes=3)
    for seed in range(50):
        assert len(operations(sample(space, seed))) == 5 * 10 * 3


def test_the_width_uses_the_limit_and_never_exceeds_it() -> None:
    space = Nago()
    for seed in range(100):
        rng = np.random.default_rng(seed)
        architecture = space.sample(space.random_parameters(rng), BUDGET, (3, 32, 32), 10, rng)
        assert 0.95 <= BUDGET.tightest(cost(architecture)) <= 1


def test_randwire_is_the_case_of_three_blocks_of_one_large_cell() -> None:
    architecture = sample(small(top_nodes=3, middle_nodes=1, bottom_nodes=32), 0)
    assert Counter(architecture.nodes[number].stage for number in operations(architecture)) == {0: 32, 1: 32, 2: 32}
    assert not any("cell2" in name for name in architecture.names)


def test_a_chain_is_the_case_of_twenty_blocks_of_one_operation() -> None:
    space = small(top_nodes=20, top_probability=0, middle_nodes=1, bottom_nodes=1)
    architecture = sample(space, 0)
    numbers = sorted(operations(architecture), key=lambda i: int(architecture.names[i].split("block")[1].split("_")[0]))
    assert len(numbers) == 20
    for before, after in pairwise(numbers):
        reached = set(architecture.nodes[after].inputs)
        bridges = {source for i in reached for source in architecture.nodes[i].inputs}
        assert before in reached | bridges
    assert space.single_member({})


def test_no_bridge_is_added_twice_and_all_lead_to_lower_resolutions() -> None:
    for seed in range(20):
        architecture = sample(small(top_nodes=10, top_neighbours=4), seed)
        bridges = [node for node in architecture.nodes if node.operation == "pool_conv1x1_bn"]
        assert len({(node.inputs, node.stage) for node in bridges}) == len(bridges)
        for node in bridges:
            assert node.stride == 2 ** (node.stage - architecture.nodes[node.inputs[0]].stage)


def test_the_operation_and_the_head_are_options() -> None:
    separable = Nago(operation="relu_sepconv3x3_bn", head_ratio=0.5)
    parameters: dict[str, Any] = separable.random_parameters(np.random.default_rng(0))
    architecture = sample(separable, 0, **parameters)
    assert {architecture.nodes[i].operation for i in operations(architecture)} == {"relu_sepconv3x3_bn"}
    with pytest.raises(SpaceError, match="Unknown value of `operation` 'conv'"):
        Nago(operation="conv")
    with pytest.raises(SpaceError, match="0 < head_ratio <= 1000000"):
        Nago(head_ratio=0)


def test_invalid_ranges_are_rejected() -> None:
    with pytest.raises(SpaceError, match="3 <= low"):
        Nago(top_nodes=2)
    with pytest.raises(SpaceError, match="<= 1"):
        Nago(top_probability=(0.1, 1.5))


@pytest.mark.parametrize("rule", ["sum", "concat", "attention", "mixed"])
@pytest.mark.parametrize("operation", ["maxpool3x3", "relu_conv1x3_bn", "mixed"])
def test_networks_of_every_merge_and_operation_train(rule: str, operation: str) -> None:
    space = small(merge=rule, operation=operation, bottom_neighbours=4, bottom_nodes=6)
    for shape in [(1, 8, 8), (2, 50), (9,)]:
        architecture = sample(space, 0, shape)
        network = build(architecture)
        loss = network(torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))).square().sum()
        loss.backward()
        assert all(value.grad is not None and value.grad.isfinite().all() for value in network.parameters())


def test_the_merges_do_what_their_names_say() -> None:
    found = {rule: sample(small(merge=rule), 0) for rule in ("weighted_sum", "sum", "concat", "attention")}
    for rule, architecture in found.items():
        merges = {architecture.nodes[i].merge for i in operations(architecture)} - {"none"}
        assert merges == {"sum" if rule == "attention" else rule}
    nodes = found["attention"].nodes
    for i in operations(found["attention"]):
        if nodes[i].merge == "sum":
            assert {nodes[source].merge for source in nodes[i].inputs} == {"product"}
    assert len({sample(small(merge="mixed", bottom_nodes=8), seed).digest for seed in range(5)}) == 5


def test_attention_adds_one_gate_for_each_scaled_output() -> None:
    nodes = sample(small(merge="attention", bottom_nodes=9, bottom_neighbours=4), 3).nodes
    gated = [node.inputs for node in nodes if node.operation == "global_gate"]
    assert len(set(gated)) == len(gated) > 10


def test_mixed_operations_are_drawn_for_every_node() -> None:
    architecture = sample(small(operation="mixed", bottom_nodes=10), 0)
    counts = Counter(architecture.nodes[i].operation for i in operations(architecture))
    assert set(counts) == set(OPERATIONS)
    assert max(counts.values()) < sum(counts.values()) / 4


def test_stages_begin_and_widen_as_the_family_specifies() -> None:
    space = small(top_nodes=10, stage2_start=0.2, stage3_start=0.8, stage2_width=1.5, stage3_width=5.0)
    architecture = sample(space, 0)
    stages = {node.name.split("_")[1]: node.stage for node in architecture.nodes if "_node" in node.name}
    assert [stages[f"block{number}"] for number in range(1, 11)] == [0, 0, 1, 1, 1, 1, 1, 1, 2, 2]
    widths = {node.stage: node.channels for node in architecture.nodes if "_node" in node.name}
    assert widths[1] == pytest.approx(1.5 * widths[0], abs=2)
    assert widths[2] == pytest.approx(5 * widths[0], abs=3)


def test_further_dimensions_are_fixed_until_a_range_opens_them() -> None:
    assert len(Nago().distributions()) == 8
    opened = Nago(merge=("sum", "concat"), stage2_width=(1.0, 2.0))
    assert set(opened.distributions()) - set(Nago().distributions()) == {"merge", "stage2_width"}
    assert ", merge sum, stage2_width 1.5" in opened.describe(
        opened.random_parameters(np.random.default_rng(0)) | {"merge": "sum", "stage2_width": 1.5}
    )


def test_a_family_that_draws_operations_has_many_members_even_on_complete_graphs() -> None:
    complete = {"top_nodes": 3, "middle_nodes": 1, "bottom_nodes": 3}
    assert small(**complete).single_member({})
    assert not small(**complete, operation="mixed").single_member({})
