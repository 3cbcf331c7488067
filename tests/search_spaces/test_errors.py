from search_spaces.errors import BudgetError, SpaceError, unknown


def test_an_unknown_name_gets_the_nearest_and_all_known_ones() -> None:
    assert str(unknown("fruit", "aple", ["pear", "apple"])) == (
        "Unknown fruit 'aple'. Did you mean 'apple'? Known: apple, pear."
    )


def test_a_broken_budget_is_a_space_error_and_a_value_error() -> None:
    assert issubclass(BudgetError, SpaceError)
    assert issubclass(SpaceError, ValueError)
