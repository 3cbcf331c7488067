import pytest

from autokd.searches.tables import counted, ratio


def test_one_is_singular_and_everything_else_plural() -> None:
    assert [counted(n, "epoch") for n in (0, 0.5, 1, 1.0, 2)] == [
        "0 epochs",
        "0.5 epochs",
        "1 epoch",
        "1 epoch",
        "2 epochs",
    ]


@pytest.mark.parametrize(
    ("larger", "smaller", "shown"), [(10, 4, "2.5"), (None, 4, "-"), (10, None, "-"), (10, 0, "-")]
)
def test_a_ratio_that_cannot_be_told_is_a_dash(larger: int | None, smaller: int | None, shown: str) -> None:
    assert ratio(larger, smaller) == shown
