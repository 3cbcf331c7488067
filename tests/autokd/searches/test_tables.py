from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from autokd.searches.panel_facts import AssistantFacts, PanelFacts
from autokd.searches.tables import count, counted, evaluation_state, panel_lines, ratio, table
from autokd.searches.under_way import RunningEvaluation

AN_HOUR = timedelta(hours=1)


def test_a_count_below_a_unit_by_less_than_its_three_digits_tell_is_in_that_unit() -> None:
    numbers = (999, 1_000, 87_345, 999_499, 999_612, 999_900_000)
    assert [count(number) for number in numbers] == ["999", "1 k", "87.3 k", "999 k", "1 M", "1 G"]


def test_one_is_singular_and_everything_else_plural() -> None:
    assert [counted(n, "epoch") for n in (0, 0.5, 1, 1.0, 2)] == [
        "0 epochs",
        "0.5 epochs",
        "1 epoch",
        "1 epoch",
        "2 epochs",
    ]
    assert [counted(n, "search", "searches") for n in (1, 2)] == ["1 search", "2 searches"]


def test_the_weights_of_a_panel_are_told_for_each_rule() -> None:
    small = AssistantFacts("small", "0" * 64, 170, 0.9, 0.8)
    panel = PanelFacts((small,), {"de": (0.9, 0.1), "nll": (0.6, 0.4)}, 0.99, 0.95)
    assert panel_lines(panel)[1:] == [
        ("weights", "teacher 0.90, small 0.10 by de: 99.00 %, equal ones 95.00 %, on other validation samples"),
        ("weights", "teacher 0.60, small 0.40 by nll"),
    ]
    assert len(panel_lines(replace(panel, weights={}))) == 1


def test_some_of_a_panel_weigh_as_they_do_in_training() -> None:
    large, small = (AssistantFacts(name, "d", 100, 0.97, 0.98) for name in ("large", "small"))
    whole = PanelFacts((large, small), {"de": (0.6, 0.25, 0.15), "nll": (0.0, 1.0, 0.0)}, 0.99, 0.95)
    some = whole.of(["small"])
    assert some.assistants == (small,)
    assert some.weights == {"de": pytest.approx((0.8, 0.2)), "nll": (0.5, 0.5)}
    assert dict(panel_lines(some))["weights"] == "teacher 0.50, small 0.50 by nll"
    assert panel_lines(some)[1] == ("weights", "teacher 0.80, small 0.20 by de")  # whose accuracy nobody measured
    assert whole.of(["large", "small"]) is whole


@pytest.mark.parametrize(
    ("larger", "smaller", "shown"), [(10, 4, "2.5"), (None, 4, "-"), (10, None, "-"), (10, 0, "-")]
)
def test_a_ratio_that_cannot_be_told_is_a_dash(larger: int | None, smaller: int | None, shown: str) -> None:
    assert ratio(larger, smaller) == shown


@pytest.mark.parametrize(
    ("evaluation", "line"),
    [
        (RunningEvaluation(3, None, 0, 9.0, "node7:1", None, "k"), "up to 9 epochs, on node7:1"),
        (
            RunningEvaluation(3, None, 1, 1.0, None, "no worker", "k"),
            "up to 1 epoch, waits: no worker",
        ),
        (RunningEvaluation(None, "resnet", 0, 9.0, None, None, "k"), "up to 9 epochs"),
        (RunningEvaluation(3, None, 0, 9.0, None, None, "k", 4.0), "epoch 4 of 9"),
        (
            RunningEvaluation(3, None, 0, 9.0, "node7:1", None, "k", 0.5, 12_345.6),
            "epoch 0.5 of 9, 12,346 images/s, about 60 min left, on node7:1",
        ),
        (
            RunningEvaluation(3, None, 0, 9.0, None, None, "k", 9.0, 660.0, datetime(2026, 1, 1, tzinfo=UTC)),
            "epoch 9 of 9, 660 images/s",
        ),
    ],
)
def test_an_evaluation_under_way_is_told_as_far_as_it_is_known(evaluation: RunningEvaluation, line: str) -> None:
    if evaluation.images_per_second and evaluation.ends_at is None:
        evaluation = replace(evaluation, ends_at=datetime.now(UTC) + AN_HOUR)
    assert evaluation_state(evaluation) == line


@pytest.mark.parametrize("width", [40, 80, 160])
def test_a_table_that_is_wider_than_the_terminal_goes_on_below_with_nothing_cut_off(width: int) -> None:
    rows = [(name, *(f"{number}.25%" for number in range(12))) for name in ("like-teacher", "mobilenetv2")]
    console = Console(width=width, record=True, file=StringIO())
    console.print(table(["", *(f"metric{number}" for number in range(12))], rows, numeric=range(1, 13)))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    for name, *cells in rows:
        assert [cell for line in lines if name in line for cell in line.split()[1:]] == cells


def test_words_are_wrapped_before_a_table_goes_on_below() -> None:
    console = Console(width=60, record=True, file=StringIO())
    console.print(table(("trial", "family"), [("3", "a " * 100)], range(1)))
    lines = console.export_text().splitlines()
    assert [line.split()[0] for line in lines if "t" in line] == ["trial"]
