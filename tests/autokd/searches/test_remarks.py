from dataclasses import replace

import pytest

from autokd.optimizers.models.signal_to_noise import SignalToNoise
from autokd.searches.progress import Progress
from autokd.searches.remarks import beats_teacher, few_samples, no_mistakes, prunes_early, search_remarks, seen_samples

RETRY = "autokd retry digits --home elsewhere"
PROGRESS = Progress("digits", "finished", 12, 12, 0, 0, 0, 3, 0.9, 7, 7, 7, 0.99, 9, 9, 0.0, 1.0, {})


def test_trials_that_failed_by_a_workers_fault_can_be_retried():
    progress = replace(PROGRESS, failed=3, reasons={"lost": 2, "diverged": 1}, retriable=2)
    assert search_remarks(progress, None, RETRY)[-1] == (
        "failed",
        "2 trials by a worker's fault: `autokd retry digits --home elsewhere` opens them again",
    )


def test_only_of_a_flat_space_it_is_said_that_the_order_of_families_is_mostly_luck() -> None:
    flat = SignalToNoise(n=12, observations=2, ratio=0.25, low=0.0, high=0.5, evidence=30.0)
    assert search_remarks(PROGRESS, flat, RETRY) == [
        (
            "space",
            "families differ by less than a trial's noise (0.25 times it, 90 %: 0 to 0.5; 12 trials at the last rung "
            "with 2 students each): their order is mostly luck",
        )
    ]
    others = replace(flat, evidence=9.0), replace(flat, ratio=1.0), None
    assert not any(search_remarks(PROGRESS, each, RETRY) for each in others)


def test_a_search_that_stops_early_says_why() -> None:
    assert search_remarks(PROGRESS, None, RETRY, is_enough=True) == []  # it ran all its trials
    (remark,) = search_remarks(replace(PROGRESS, trials=60), None, RETRY, is_enough=True)
    assert remark == ("stop", "no further trial begins, as 20 more would gain less than `stop.gain`")
    assert search_remarks(replace(PROGRESS, trials=60), None, RETRY, is_enough=False) == []


def test_failed_trials_and_those_that_learnt_nothing_are_counted() -> None:
    progress = replace(PROGRESS, reasons={"training diverged": 3}, at_chance=1)
    assert search_remarks(progress, None, RETRY) == [
        ("failed", "3 x training diverged"),
        ("at chance", "1 trial ended hardly better than guessing"),
    ]


def test_a_student_that_is_not_better_is_no_news() -> None:
    assert beats_teacher(0.9, 0.9, "test", 1_000) is None


@pytest.mark.parametrize(
    ("student", "teacher", "n", "suspected"),
    [(0.921, 0.541, 1_000, True), (0.905, 0.9, 1_000, False), (0.905, 0.9, 100_000, True), (0.95, 0.9, None, True)],
)
def test_a_teacher_is_suspected_where_its_student_is_better_by_more_than_noise(
    student: float, teacher: float, n: int | None, suspected: bool
) -> None:
    line = beats_teacher(student, teacher, "test", n)
    assert line is not None
    assert line.startswith(f"the student beats its teacher by {100 * (student - teacher):.2f} points on the test split")
    assert ("the teacher may be weak or mis-prepared" in line) == suspected


@pytest.mark.parametrize(
    ("validation", "test", "n", "evident"),
    [(0.895, 0.832, 5_000, True), (0.895, 0.832, 200, False), (0.95, 0.945, 5_000, False), (0.8, 0.9, 5_000, False)],
)
def test_validation_samples_that_the_teacher_knows_are_told_by_two_proportions(
    validation: float, test: float, n: int, evident: bool
) -> None:
    line = seen_samples({"accuracy": validation}, {"accuracy": test}, n, 10_000)
    assert (line is not None) == evident
    assert line is None or "evidently among its own training samples" in line


@pytest.mark.parametrize(("balanced", "evident"), [(0.9, True), (0.6, False)])
def test_more_samples_of_difficult_classes_are_no_evidence_that_the_teacher_knows_others(
    balanced: float, evident: bool
) -> None:
    validation = {"accuracy": 0.9, "balanced_accuracy": balanced}
    test = {"accuracy": 0.6, "balanced_accuracy": 0.6}
    assert (seen_samples(validation, test, 5_000, 10_000) is not None) == evident


def test_nothing_is_said_where_the_numbers_of_samples_are_unknown() -> None:
    assert seen_samples({"accuracy": 0.9}, {"accuracy": 0.1}, None, None) is None


@pytest.mark.parametrize(("accuracy", "n", "said"), [(1.0, 300, True), (1.0, 299, False), (0.9999, 10_000, False)])
def test_a_perfect_teacher_is_suspected_before_the_search(accuracy: float, n: int, said: bool) -> None:
    assert (no_mistakes(accuracy, n) is not None) == said


@pytest.mark.parametrize(("n", "points"), [(2, 69), (50, 14), (99, 10), (100, None)])
def test_one_is_told_that_few_samples_tell_little(n: int, points: int | None) -> None:
    line = few_samples(n)
    assert line is None if points is None else f"only {n} validation samples: " in line and f"± {points} points" in line


def test_batches_are_at_most_all_samples(make_problem) -> None:
    problem = make_problem(training={"rungs": [4, 9], "batch_size": 1000})
    line = prunes_early(replace(problem, facts=replace(problem.facts, samples={"train": 900})))
    assert (line or "").startswith("trials are pruned after 4 steps,")


@pytest.mark.parametrize(
    ("rungs", "pruner", "steps"),
    [
        ([3, 9], "halving", 84),
        ([0.6, 9], "halving", 17),
        ([4, 9], "halving", None),
        ([3], "halving", None),
        ([3, 9], "none", None),
    ],
)
def test_one_is_told_that_trials_are_pruned_within_a_hundred_steps(
    make_problem, rungs: list[float], pruner: str, steps: int | None
):
    problem = make_problem(training={"rungs": rungs, "batch_size": 32}, optimizer={"pruner": pruner})
    line = prunes_early(replace(problem, facts=replace(problem.facts, samples={"train": 900})))
    assert line is None if steps is None else (line or "").startswith(f"trials are pruned after {steps} steps,")
