from pathlib import Path

import numpy as np
import pytest

from autokd.testing.spaces import SpaceConformance
from search_spaces.architecture.layers import Shape
from search_spaces.design.blueprint import Blueprint
from search_spaces.design.space import Parameters, Value
from search_spaces.spaces.nago import Nago


class Changing(Nago):
    """A space that gives a family another value than it was asked for."""

    def complete(self, parameters: Parameters) -> dict[str, Value]:
        return super().complete(parameters) | {"top_nodes": 3}


def test_a_space_that_changes_a_family_does_not_conform() -> None:
    with pytest.raises(AssertionError):
        SpaceConformance().test_random_parameters_are_complete_and_inside_their_distributions(Changing())


class Unordered(Nago):
    """A space whose draws depend on the order of a set of text."""

    def blueprint(
        self, parameters: Parameters, input_shape: Shape, classes: int, rng: np.random.Generator
    ) -> Blueprint:
        rng.random(int("".join(list({str(number) for number in range(30)})[:2])))
        return super().blueprint(parameters, input_shape, classes, rng)


def test_a_space_that_draws_by_the_order_of_a_set_does_not_conform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    same = SpaceConformance().test_the_same_seed_gives_the_same_architecture
    elsewhere = SpaceConformance().test_the_same_seed_gives_the_same_architecture_in_another_process
    same(Unordered())
    elsewhere(Nago())
    with pytest.raises(AssertionError):
        elsewhere(Unordered())
