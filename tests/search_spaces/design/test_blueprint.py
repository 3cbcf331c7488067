from dataclasses import replace

import pytest

from search_spaces.architecture.cost import cost
from search_spaces.design.blueprint import CLASSES, IMAGE, Share, Sketch, Total
from search_spaces.design.budget import Budget
from search_spaces.errors import SpaceError


def sketch() -> Sketch:
    """A stem, three parallel branches of different memory, and the head."""
    drawing = Sketch((3, 16, 16), 7, (1, 2, 4), "test")
    stem = drawing.add("conv3x3_bn", (0,), 0)
    branches = [drawing.add("relu_conv3x3_bn", (stem,), 1, stride=2, name=f"branch{i}") for i in range(3)]
    merged = drawing.add("identity", branches, 1)
    drawing.add("relu_conv3x3_bn", (merged, branches[0]), 1, merge="mean")
    return drawing


def test_the_cost_of_a_blueprint_is_that_of_its_architecture() -> None:
    drawing = sketch()
    blueprint = drawing.classify(len(drawing.nodes) - 1, 2, stage=0)
    for widths in [(1, 1, 1), (3, 5, 2), (40, 2, 9)]:
        assert blueprint.cost(widths) == cost(blueprint.fill(widths))


def test_no_execution_order_is_sought_where_no_limit_is_on_the_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    drawing = sketch()
    blueprint, budget = drawing.classify(len(drawing.nodes) - 1, 2, stage=0), Budget(params=10**6, model_bytes=10**6)
    with monkeypatch.context() as patched:
        patched.setattr("search_spaces.design.blueprint.best_schedule", None)
        found = blueprint.limited_cost((3, 5, 2), budget)
    assert found == replace(cost(blueprint.fill((3, 5, 2))), activation_bytes=0)


@pytest.mark.parametrize("budget", [Budget(activation_bytes=10**6), Budget(params=1, memory_bytes=10**6)])
def test_the_cost_is_whole_where_a_limit_is_on_the_activations(budget: Budget) -> None:
    drawing = sketch()
    blueprint = drawing.classify(len(drawing.nodes) - 1, 2, stage=0)
    assert blueprint.limited_cost((3, 5, 2), budget) == cost(blueprint.fill((3, 5, 2)))


def test_filling_replaces_places_by_widths_classes_and_input_channels() -> None:
    drawing = sketch()
    architecture = drawing.classify(len(drawing.nodes) - 1, 2, stage=0).fill((3, 5, 8))
    assert [node.channels for node in architecture.nodes] == [3, 3, 5, 5, 5, 5, 5, 8, 7]
    assert architecture.space == "test"


def test_a_merge_is_ignored_for_a_single_input() -> None:
    drawing = sketch()
    assert [node.merge for node in drawing.nodes[-3:]] == ["none", "weighted_sum", "mean"]


def test_filling_a_blueprint_with_an_unused_node_raises() -> None:
    drawing = sketch()
    drawing.add("conv1x1_bn", (1,), 0)
    with pytest.raises(SpaceError, match="no node reads"):
        drawing.classify(len(drawing.nodes) - 2, 2, stage=0).fill((1, 1, 1))


def test_shares_of_a_width_add_up_to_it_and_the_first_are_larger() -> None:
    for whole in range(5, 40):
        shares = [Share(0, index, 5).width((whole,)) for index in range(5)]
        assert sum(shares) == whole
        assert shares == sorted(shares, reverse=True)
        assert shares[0] - shares[-1] <= 1
    assert [Share(0, index, 3).width((1,)) for index in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("ratio", [0, -1, float("nan"), float("inf")])
def test_a_ratio_that_gives_no_width_is_rejected(ratio: float) -> None:
    with pytest.raises(SpaceError, match="must be above 0 and finite"):
        Sketch((3, 16, 16), 7, (1, ratio), "test")


@pytest.mark.parametrize("place", [3, 5, -3])
def test_a_place_without_a_width_is_rejected(place: int) -> None:
    message = f"Places of widths are 0 to 2, `CLASSES` and `IMAGE`, but got {place}"
    with pytest.raises(SpaceError, match=message):
        sketch().add("conv3x3_bn", (0,), place)
    with pytest.raises(SpaceError, match=message):
        sketch().derive(Total((0, place)))


@pytest.mark.parametrize("place", [0, 2, CLASSES, IMAGE])
def test_places_of_ratios_classes_and_the_input_have_a_width(place: int) -> None:
    drawing = sketch()
    assert drawing.shape(drawing.add("conv3x3_bn", (0,), drawing.derive(Total((place, place)))))[0] > 1


def test_derived_widths_follow_the_solved_ones() -> None:
    drawing = Sketch((3, 9, 9), 4, (1, 2), "test")
    parts = [drawing.derive(Share(1, index, 3)) for index in range(3)]
    whole = drawing.derive(Total(tuple(parts)))
    assert drawing.derive(Share(1, 1, 3)) == parts[1]
    stem = drawing.add("conv3x3_bn", (0,), 0)
    ends = [drawing.add("relu_conv3x3_bn", (stem,), part) for part in parts]
    joined = drawing.add("identity", ends, whole, merge="concat")
    drawing.add("relu_conv1x1_bn", (joined, stem), 1, merge="concat")
    blueprint = drawing.classify(len(drawing.nodes) - 1, 1, stage=0)
    for widths in [(1, 1), (4, 11), (7, 32)]:
        architecture = blueprint.fill(widths)
        assert blueprint.cost(widths) == cost(architecture)
        size, rest = divmod(max(widths[1], 3), 3)
        assert sorted(node.channels for node in architecture.nodes[2:5]) == sorted(size + (i < rest) for i in range(3))
    shapes = blueprint.fill((4, 11)).entering()
    assert (15, 9, 9) in shapes


def test_scheduling_keeps_the_order_of_a_concatenation() -> None:
    drawing = Sketch((1, 8, 8), 2, (1, 8), "test")
    wide = drawing.add("conv3x3_bn", (0,), 1, name="wide")
    narrow = drawing.add("conv3x3_bn", (0,), 0, name="narrow")
    both = drawing.derive(Total((0, 1)))
    drawing.add("identity", (narrow, wide), both, merge="concat", name="joined")
    architecture = drawing.classify(len(drawing.nodes) - 1, 0, stage=0).fill((2, 16))
    joined = architecture.nodes[architecture.names.index("joined")]
    assert [architecture.names[source] for source in joined.inputs] == ["narrow", "wide"]
