from collections.abc import Callable
from math import prod

import numpy as np
import pytest
import torch
from torch import nn

from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture
from search_spaces.architecture.layers import Shape
from search_spaces.design.budget import Budget
from search_spaces.errors import SpaceError
from search_spaces.networks.network import build
from search_spaces.networks.traced import trace
from search_spaces.spaces.like_teacher import LikeTeacher

Make = Callable[[str], tuple[nn.Module, Shape]]


def graph(network: nn.Module, shape: Shape) -> Architecture:
    example = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    return trace(network.eval(), example).architecture


def student(
    teacher: Architecture, budget: Budget | None = None, width: float | None = None, **ratios: float
) -> Architecture:
    """Copy at ratio 1 but for `ratios`."""
    space = LikeTeacher(width=width).with_teacher(teacher)
    ones = dict.fromkeys(space.distributions(), 1.0)
    rng = np.random.default_rng(0)
    return space.sample(ones | ratios, budget or Budget(), teacher.input_shape, teacher.classes, rng)


def test_at_ratio_1_and_the_teachers_width_the_student_is_the_teacher(elsewhere: Make, network_name: str) -> None:
    teacher = graph(*elsewhere(network_name))
    copy = student(teacher, width=LikeTeacher().with_teacher(teacher).teacher_width)
    assert copy.digest == teacher.digest
    assert set(copy.names) == set(teacher.names)


def test_every_copy_keeps_its_budget_and_runs(elsewhere: Make, network_name: str) -> None:
    teacher = graph(*elsewhere(network_name))
    budget = Budget(params=cost(teacher).params // 3)
    slim = student(teacher, budget)
    assert 0.7 < budget.tightest(cost(slim)) <= 1
    assert build(slim).eval()(torch.zeros(2, *slim.input_shape)).shape == (2, teacher.classes)


def test_the_parameters_are_those_of_the_widths_by_hand(elsewhere: Make) -> None:
    teacher = graph(*elsewhere("fashion-mnist"))
    slim = student(teacher, Budget(params=87_345), stage1_ratio=0.5, stage3_ratio=0.7)
    by_hand = 0
    for node in slim.nodes:
        kernel = {"conv3x3_bn": 9, "conv3x3_bn_relu": 9, "conv1x1_bn": 1, "linear_bias": 1}.get(node.operation, 0)
        by_hand += kernel * node.channels * slim.nodes[node.inputs[0]].channels if kernel else 0
    assert abs(cost(slim).params / by_hand - 1) < 0.01  # batch norm's scales and shifts, and a bias, come on top


def test_stages_are_resolutions_and_ratios_multiply_their_widths(elsewhere: Make) -> None:
    teacher = graph(*elsewhere("resnet18"))
    assert list(LikeTeacher().with_teacher(teacher).distributions()) == [f"stage{k}_ratio" for k in range(1, 6)]
    narrow = student(teacher, width=64, stage1_ratio=0.5, stage4_ratio=0.25)
    widths = {node.name: node.channels for node in narrow.nodes}
    assert (widths["conv1"], widths["layer1_0_conv1"], widths["layer3_1_conv2"]) == (4, 8, 8)
    assert (widths["layer2_0_conv1"], widths["layer4_1_conv1"], widths["fc"]) == (16, 64, 5)


def test_widths_that_meet_in_a_sum_are_one(elsewhere: Make) -> None:
    teacher = graph(*elsewhere("resnet18"))
    slim = student(teacher, Budget(params=20_000))
    by_name = {node.name: node for node in slim.nodes}
    for stage in (2, 3, 4):
        names = [f"layer{stage}_{block}_conv2" for block in (0, 1)] + [f"layer{stage}_0_downsample_0"]
        assert len({by_name[name].channels for name in names}) == 1
    assert by_name["conv1"].channels == by_name["layer1_1_conv2"].channels  # the stem meets the first stage's sums


def test_a_concatenation_is_as_wide_as_its_parts(elsewhere: Make) -> None:
    slim = student(graph(*elsewhere("dense")), width=3)
    widths = {node.name: node.channels for node in slim.nodes}
    assert widths["stem"] + widths["grow"] == widths["cat"] == widths["mix"]
    assert widths["cat"] < 7


def test_flattened_maps_are_as_wide_as_their_channels_at_all_positions(elsewhere: Make) -> None:
    slim = student(graph(*elsewhere("vgg")), width=10)
    before = next(number for number, node in enumerate(slim.nodes) if node.operation == "pool")
    assert slim.nodes[before + 1].channels == prod(slim.shapes()[before])


def test_a_copy_for_other_inputs_and_classes_has_their_shape(elsewhere: Make) -> None:
    teacher = graph(*elsewhere("resnet18"))
    space = LikeTeacher().with_teacher(teacher)
    family = dict.fromkeys(space.distributions(), 0.5)
    copy = space.sample(family, Budget(params=9_000), (1, 64, 64), 7, np.random.default_rng(0))
    assert build(copy).eval()(torch.zeros(2, 1, 64, 64)).shape == (2, 7)


def test_inputs_that_are_too_small_for_the_teachers_layers_are_refused(elsewhere: Make) -> None:
    space = LikeTeacher().with_teacher(graph(*elsewhere("vgg")))
    family = dict.fromkeys(space.distributions(), 0.5)
    with pytest.raises(SpaceError, match=r"`maxpool2x2` gives a map of .* its input is too small"):
        space.sample(family, Budget(params=9_000), (3, 2, 3), 4, np.random.default_rng(0))


def test_a_range_for_a_stage_that_the_teacher_lacks_is_named(elsewhere: Make) -> None:
    space = LikeTeacher(stage4_ratio=0.5)
    with pytest.raises(SpaceError, match="`stage4_ratio` has no meaning: the stages of this teacher are stage1_ratio"):
        space.with_teacher(graph(*elsewhere("digits")))
    assert list(LikeTeacher(stage2_ratio=0.5).with_teacher(graph(*elsewhere("digits"))).distributions()) == [
        "stage1_ratio",
        "stage3_ratio",
    ]


def test_without_a_teacher_there_are_dimensions_but_no_networks() -> None:
    space = LikeTeacher()
    assert len(space.distributions()) == 8
    with pytest.raises(SpaceError, match="has no networks without a teacher"):
        space.blueprint({}, (1, 8, 8), 10, np.random.default_rng(0))


def test_a_family_is_described_by_its_ratios(elsewhere: Make) -> None:
    space = LikeTeacher(stage2_ratio=0.25).with_teacher(graph(*elsewhere("digits")))
    assert space.describe({"stage1_ratio": 1.0, "stage3_ratio": 0.625}) == "teacher at 1, 0.25, 0.62"


def test_it_begins_with_the_teachers_own_proportions(elsewhere: Make) -> None:
    teacher = graph(*elsewhere("digits"))
    assert LikeTeacher(stage2_ratio=1.0).with_teacher(teacher).start_points() == [
        {"stage1_ratio": 1.0, "stage3_ratio": 1.0}
    ]
    assert LikeTeacher(stage2_ratio=(0.1, 0.5)).with_teacher(teacher).start_points() == []
    assert LikeTeacher().start_points() == []


def test_pruned_widths_replace_the_teachers_and_tied_ones_are_the_mean(elsewhere: Make) -> None:
    teacher = graph(*elsewhere("digits"))
    left = {"stem_0": 9, "blocks_0_first_0": 6, "blocks_0_second_0": 5, "blocks_1_second_0": 32, "classifier": 10}
    space = LikeTeacher(width=64, widths="pruned").with_teacher(teacher, left)
    family = dict.fromkeys(space.distributions(), 1.0)
    slim = space.sample(family, Budget(), (1, 8, 8), 10, np.random.default_rng(0))
    widths = {node.name: node.channels for node in slim.nodes}
    assert (widths["stem_0"], widths["blocks_0_first_0"]) == (7, 6)  # stem and second meet in a sum: (9 + 5) / 2
    assert (widths["blocks_1_shortcut_0"], widths["blocks_2_first_0"], widths["classifier"]) == (32, 64, 10)
    assert space.describe(family) == "pruned teacher at 1, 1, 1"


def test_pruned_widths_can_be_searched_and_need_a_pruned_teacher(elsewhere: Make) -> None:
    space = LikeTeacher(widths=("teacher", "pruned"))
    assert space.needs_pruning
    assert not LikeTeacher().needs_pruning
    bound = space.with_teacher(graph(*elsewhere("digits")), {})
    ratios = dict.fromkeys([f"stage{stage}_ratio" for stage in (1, 2, 3)], 1.0)
    assert bound.start_points() == [{"widths": "teacher", **ratios}, {"widths": "pruned", **ratios}]
