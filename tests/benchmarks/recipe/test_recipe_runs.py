from dataclasses import replace
from pathlib import Path

import pytest
from marked_pages import between_marks
from recipe_runs import Run, of_best, read
from recipe_tables import markdown, over_seeds
from scipy import stats

HERE = Path(__file__).parent
RUN = Run(
    *("2026-01-01", "now", 0, 1100.0, True, "Abacus", 30.0, 3000.0, "like-teacher 1, 1, 1", 0.9),
    *(94.5, 94.2, 94.7, "resnet", 94.4, 94.1, 0.1, 0.3),
    phases={"installation": 100.0, "search": 300.0},
)


def run(seed: int, test: float, difference: float = 0.0, **changed: float | str | bool) -> Run:
    return replace(RUN, seed=seed, test=test, difference=difference, **changed)  # type: ignore[arg-type]


def test_a_seed_that_ran_often_counts_no_more_than_one() -> None:
    runs = [run(0, 94.0), run(0, 94.4), run(0, 94.5), run(1, 94.1), run(2, 94.2)]
    found = over_seeds(runs, lambda each: each.below)
    means = [0.4, 0.6, 0.5]
    interval = stats.ttest_1samp(means, 0.0).confidence_interval(0.95)
    assert (found.mean, found.low, found.high, found.n) == pytest.approx((0.5, *interval, 3))


def test_the_newest_comes_first_and_each_recipe_on_each_processor_is_summed_up_by_its_own_runs() -> None:
    slow = run(4, 93.9, 0.1, processor="Difference Engine", epochs=16.0)
    text = markdown([run(0, 93.7, 0.4, recipe="then"), slow, run(0, 94.2, 0.2), run(1, 94.3, 0.5)])
    assert text.splitlines()[2:5] == [
        "| now | Abacus | 30 | 0.45 | 0: 0.50 (1), 1: 0.40 (1) | +0.35 | 1 of 2 |",
        "| now | Difference Engine | 16 | 0.80 | 4: 0.80 (1) | +0.10 | 0 of 1 |",
        "| then | Abacus | 30 | 1.00 | 0: 1.00 (1) | +0.40 | 1 of 1 |",
    ]
    interval = stats.ttest_1samp([0.2, 0.5, 0.1], 0.0).confidence_interval(0.95)
    assert f"n = 3: +0.57 [+0.05, +1.08] points below the teacher, +0.27 [{interval.low:+.2f}, " in text


def test_the_whole_time_is_that_of_runs_with_installing() -> None:
    text = markdown(
        [
            run(0, 94.2, seconds=1200.0),
            run(0, 94.2),
            run(0, 94.2, seconds=900.0, with_installation=False, phases={"search": 340.0}),
        ]
    )
    assert "installation 100 s, search 313 s; the whole took 18 min 20 s to 20 min 0 s." in text
    assert "| 15 min 0 s * |" in text


def test_the_winner_of_a_search_becomes_a_run() -> None:
    best = {
        "epochs": 31.6,
        "parameters": {"space": "like-teacher", "like-teacher.stage1_ratio": 0.75, "temperature": 4.0, "weight": 0.861},
        "distillation": {"method": "kd", "temperature": 4.0, "weight": 0.861},
        "metrics": {"accuracy": 0.9444, "test_accuracy": 0.9405},
        "teacher_test_metrics": {"accuracy": 0.9466},
        "full_length": {"images_per_second": 3176.6},
        "comparison": {"reference": "resnet", "difference": -0.0010000000000000009, "margin": 0.0032},
        "references": [
            {"name": "mobilenetv2", "metrics": {"accuracy": 0.9}},
            {"name": "resnet", "metrics": {"accuracy": 0.9458, "test_accuracy": 0.9415}},
        ],
        "seconds": {"data": 9.0},
    }
    found = of_best(
        best, date="2026-01-01", recipe="now", seed=1, seconds=900.0, with_installation=True, processor="Abacus",
        phases={"installation": 80.0},
    )  # fmt: skip
    assert found.student == "like-teacher 0.75"
    assert (found.test, found.difference, found.margin, found.below) == pytest.approx((94.05, -0.1, 0.32, 0.61))
    assert (found.reference_validation, found.reference_test) == (94.58, 94.15)
    assert found.phases == {"installation": 80.0, "data": 9.0}


def test_the_page_says_what_the_runs_say() -> None:
    page = (HERE / "RESULTS.md").read_text()
    assert between_marks(page, markdown(read(HERE / "runs.jsonl"))) == page
