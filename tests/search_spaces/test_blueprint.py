import pytest

from search_spaces.blueprint import Sketch
from search_spaces.cost import cost
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


def test_filling_puts_widths_classes_and_image_channels_in_place() -> None:
    drawing = sketch()
    architecture = drawing.classify(len(drawing.nodes) - 1, 2, stage=0).fill((3, 5, 8))
    assert [node.channels for node in architecture.nodes] == [3, 3, 5, 5, 5, 5, 5, 8, 7]
    assert architecture.space == "test"


def test_a_merge_rule_counts_only_for_several_inputs() -> None:
    drawing = sketch()
    assert [node.merge for node in drawing.nodes[-3:]] == ["none", "weighted_sum", "mean"]


def test_an_unused_node_is_found_when_filled() -> None:
    drawing = sketch()
    drawing.add("conv1x1_bn", (1,), 0)
    with pytest.raises(SpaceError, match="nobody reads"):
        drawing.classify(len(drawing.nodes) - 2, 2, stage=0).fill((1, 1, 1))
