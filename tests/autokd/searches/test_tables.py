from dataclasses import replace

import pytest

from autokd.optimizers.models.signal_to_noise import SignalToNoise
from autokd.searches.tables import counted, flat_line, ratio


def test_one_is_singular_and_everything_else_plural() -> None:
    assert [counted(n, "epoch") for n in (0, 0.5, 1, 1.0, 2)] == [
        "0 epochs",
        "0.5 epochs",
        "1 epoch",
        "1 epoch",
        "2 epochs",
    ]


@pytest.mark.parametrize(("larger", "smaller", "shown"), [(10, 4, "2.5"), (None, 4, "-"), (10, None, "-")])
def test_the_ratio_of_what_is_unknown_is_a_dash(larger: int | None, smaller: int | None, shown: str) -> None:
    assert ratio(larger, smaller) == shown


def test_only_a_flat_space_has_a_line() -> None:
    flat = SignalToNoise(n=12, observations=2, ratio=0.25, low=0.0, high=0.5, evidence=30.0)
    assert flat_line(flat) == (
        "families differ by less than a trial's noise (0.25 times it, 90 %: 0 to 0.5; 12 trials at the last rung with "
        "2 students each): their order is mostly luck"
    )
    assert flat_line(replace(flat, evidence=9.0)) is None
    assert flat_line(replace(flat, ratio=1.0)) is None
    assert flat_line(None) is None
