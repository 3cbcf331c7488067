import pytest

from autokd.testing.spaces import SpaceConformance
from search_spaces.design.space import Parameters, Value
from search_spaces.spaces.nago import Nago


class Changing(Nago):
    """A space that gives a family another value than it was asked for."""

    def complete(self, parameters: Parameters) -> dict[str, Value]:
        return super().complete(parameters) | {"top_nodes": 3}


def test_a_space_that_changes_a_family_does_not_conform() -> None:
    with pytest.raises(AssertionError):
        SpaceConformance().test_random_parameters_are_complete_and_inside_their_distributions(Changing())
