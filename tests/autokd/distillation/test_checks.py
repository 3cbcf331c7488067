import math

import pytest

from autokd.distillation.checks import non_negative, one_of, positive, share
from autokd.errors import InputError


def test_a_valid_value_is_returned() -> None:
    assert (positive(temperature=2.5), non_negative(weight=0.0), share(until=1.0)) == (2.5, 0.0, 1.0)
    assert one_of(["linear", "step"], transition="step") == "step"


@pytest.mark.parametrize(
    ("check", "value", "rule"),
    [
        (positive, 0.0, "0 < weight < inf"),
        (positive, math.inf, "0 < weight < inf"),
        (non_negative, -1e-9, "0 <= weight < inf"),
        (non_negative, math.nan, "0 <= weight < inf"),
        (share, 1.1, "0 <= weight <= 1"),
    ],
)
def test_anything_else_is_rejected_with_its_rule(check, value: float, rule: str) -> None:
    with pytest.raises(InputError, match=f"^`{rule}` must hold, but got weight={value!r}.$"):
        check(weight=value)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"^`stages` must be one of last, all, but got stages='first'\.$"):
        one_of(["last", "all"], stages="first")
