import pytest

from autokd.searches.remarks import beats_teacher, no_mistakes, seen_samples


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
    line = seen_samples(validation, test, n, 10_000)
    assert (line is not None) == evident
    assert line is None or "evidently among its own training samples" in line


def test_nothing_is_said_where_the_numbers_of_samples_are_unknown() -> None:
    assert seen_samples(0.9, 0.1, None, None) is None


@pytest.mark.parametrize(("accuracy", "n", "said"), [(1.0, 300, True), (1.0, 299, False), (0.9999, 10_000, False)])
def test_a_perfect_teacher_is_suspected_before_the_search(accuracy: float, n: int, said: bool) -> None:
    assert (no_mistakes(accuracy, n) is not None) == said
