import numpy as np
import pytest

from search_spaces.design.budget import Budget
from search_spaces.design.choice import SPACE, SpaceChoice
from search_spaces.design.dimensions import contains
from search_spaces.design.registry import space_of
from search_spaces.errors import BudgetError, SpaceError
from search_spaces.spaces.blocks import DEEP_EARLY, MOBILENETV2, RESNET, RESNET_20, Blocks
from search_spaces.spaces.nago import Nago
from search_spaces.spaces.nasbench201 import NasBench201

SHAPE, CLASSES, BUDGET = (1, 8, 8), 10, Budget(params=30_000)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def choice() -> SpaceChoice:
    return SpaceChoice({"nago": Nago(top_nodes=(3, 4)), "blocks": Blocks(), "cells": NasBench201(cells=1)})


def active(choice: SpaceChoice, parameters: dict[str, int | float | str]) -> set[str]:
    return {name for name, dimension in choice.distributions().items() if dimension.is_active(parameters)}


def test_a_dimension_is_active_only_in_its_space_and_under_its_own_parent(choice: SpaceChoice) -> None:
    for seed in range(40):
        parameters = choice.random_parameters(rng(seed))
        name = str(parameters[SPACE])
        own = {key.removeprefix(f"{name}."): value for key, value in parameters.items() if key != SPACE}
        alone = choice.members[name]
        expected = {key for key, one in alone.distributions().items() if one.is_active(own)}
        assert active(choice, parameters) == {SPACE} | {f"{name}.{key}" for key in expected} == parameters.keys()
        assert all(contains(choice.distributions()[key].distribution, value) for key, value in parameters.items())


def test_everything_that_a_space_says_of_a_family_it_says_in_the_choice(choice: SpaceChoice) -> None:
    for name, alone in choice.members.items():
        own = alone.random_parameters(rng())
        given = {SPACE: name} | {f"{name}.{key}": value for key, value in own.items()}
        drawn = choice.sample(given, BUDGET, SHAPE, CLASSES, rng(1))
        assert drawn == alone.sample(own, BUDGET, SHAPE, CLASSES, rng(1))
        assert choice.describe(given) == f"{name}: {alone.describe(own)}"
        assert choice.single_member(given) == alone.single_member(alone.complete(own))
        fitted = choice.fit(given, Budget(params=9_000), SHAPE, CLASSES, rng(2))
        assert fitted == {SPACE: name} | {
            f"{name}.{key}": value
            for key, value in alone.fit(own, Budget(params=9_000), SHAPE, CLASSES, rng(2)).items()
        }


def test_fixed_values_are_completed_under_the_name_of_their_space() -> None:
    choice = space_of(["nago", "blocks"], {"blocks.stage1_block": "basic", "blocks.head_ratio": 0, "nago.top_nodes": 3})
    assert "nago.top_nodes" not in choice.distributions()
    assert "blocks.stage1_kernel" not in choice.distributions()
    complete = choice.completed({SPACE: "blocks"})
    assert complete["blocks.stage1_block"] == "basic"
    assert not any(key.startswith("nago.") for key in complete)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nago.top_nodes": 3}, "`nago.top_nodes` is not active for space='blocks'"),
        ({"blocks.stage1_kernel": 3}, "`stage1_kernel` is not active for stage1_block='basic'"),
        ({"cells.edge": 3}, "Unknown dimension 'cells.edge'"),
        ({SPACE: "block"}, "Unknown value of `space` 'block'. Did you mean 'blocks'"),
    ],
)
def test_a_parameter_of_no_or_another_space_is_refused(
    choice: SpaceChoice, change: dict[str, str], message: str
) -> None:
    known = {SPACE: "blocks"} | {f"blocks.{key}": value for key, value in RESNET.items()}
    choice.complete(known)
    with pytest.raises(SpaceError, match=message):
        choice.complete(known | change)


def test_features_are_those_of_the_space_and_distinguish_no_families_of_others(choice: SpaceChoice) -> None:
    alone = choice.members["cells"]
    found: dict[object, set[tuple[float, ...]]] = {}
    for seed in range(40):
        parameters = choice.random_parameters(rng(seed))
        features = choice.features(choice.complete(parameters))
        found.setdefault(parameters[SPACE], set()).add(features)
        if parameters[SPACE] == "cells":
            own = {key.removeprefix("cells."): value for key, value in parameters.items() if key != SPACE}
            assert features == alone.features(alone.complete(own))
    assert len(found["nago"] | found["blocks"]) == 1 < len(found["cells"])
    assert set(choice.described()) == {f"cells.{key}" for key in alone.distributions()}


def test_the_first_start_points_are_one_of_each_space() -> None:
    points = space_of(["nago", "blocks"], {}).start_points()
    assert points[0] == {SPACE: "nago"}
    assert [point["blocks.stage1_block"] for point in points[1:]] == ["basic", "mbconv", "basic", "basic"]
    assert Blocks().start_points() == [RESNET, MOBILENETV2, DEEP_EARLY, RESNET_20]


def test_start_points_are_legal_families_without_what_is_fixed() -> None:
    space = Blocks(stage1_block="basic", stage2_depth=(1, 3), stage1_ratio=(0.5, 1.5))
    assert space.start_points() == [
        {key: value for key, value in family.items() if key != "stage1_block"} for family in (RESNET, RESNET_20)
    ]
    assert Blocks(stage1_depth=4).start_points() == []
    for point in space.start_points():
        space.sample(point, BUDGET, SHAPE, CLASSES, rng())


def test_a_restricted_choice_keeps_the_names(choice: SpaceChoice) -> None:
    only = choice.restricted(["blocks"])
    assert set(only.distributions()) == {SPACE} | {f"blocks.{key}" for key in Blocks().distributions()}
    assert only.random_parameters(rng())[SPACE] == "blocks"
    with pytest.raises(SpaceError, match="needs at least one space"):
        choice.restricted(["block"])
    assert Blocks().restricted(["blocks"]).distributions() == Blocks().distributions()


def test_a_budget_that_nothing_of_the_space_meets_is_an_error_as_in_the_space(choice: SpaceChoice) -> None:
    with pytest.raises(BudgetError):
        choice.sample(choice.completed({SPACE: "blocks"}), Budget(params=10), SHAPE, CLASSES, rng())


@pytest.mark.parametrize(
    ("names", "ranges", "message"),
    [
        (["nago", "block"], {}, "Did you mean 'blocks'"),
        (["nago", "blocks"], {"top_nodes": 3}, r"must begin with one of nago\., blocks\., but got 'top_nodes'"),
        (["nago", "blocks"], {"randwire.er_probability": 0.3}, "must begin with one of"),
        (["nago", "blocks"], {"blocks.stage1": 3}, "space 'blocks' 'stage1'"),
    ],
)
def test_a_range_of_no_space_is_refused(names: list[str], ranges: dict[str, int], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        space_of(names, ranges)


def test_a_family_without_a_space_is_refused(choice: SpaceChoice) -> None:
    with pytest.raises(SpaceError, match="`space` is missing: one of nago, blocks, cells"):
        choice.complete({})


def test_a_choice_needs_the_teacher_if_one_of_its_spaces_does(choice: SpaceChoice) -> None:
    assert not choice.needs_teacher
    assert space_of(["nago", "like-teacher"], {}).needs_teacher


def test_one_space_is_that_space() -> None:
    assert type(space_of(["nago"], {"top_nodes": 3})) is Nago
