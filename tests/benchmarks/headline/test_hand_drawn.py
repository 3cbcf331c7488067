import pytest
from hand_drawn import METHODS, STUDENTS, Pair, best_pairs, best_variant, finalists, pairs, variants
from protocol import Screening
from records import Record, Run

from autokd.distillation import make_method
from search_spaces.architecture.cost import cost
from search_spaces.design.budget import Budget
from search_spaces.design.registry import space

F, D = (87_345, 100_352, (1, 28, 28)), (7_775, 4_096, (1, 8, 8))  # limits and samples
SCREENING = Screening(best=2, settings=3, finalists=2)


def record(pair: Pair, validation: float | None, seed: int = 9) -> Record:
    return Record(Run("F", "H", pair.text, seed, "s"), {} if validation is None else {"validation": validation})


def test_there_are_seven_students_and_sixteen_methods() -> None:
    assert (len(STUDENTS), len(METHODS), len(pairs())) == (7, 16, 112)


@pytest.mark.parametrize("student", [name for name in STUDENTS if name != "like-teacher"])
@pytest.mark.parametrize(("params", "activation_bytes", "shape"), [F, D])
def test_students_use_the_limits(student: str, params: int, activation_bytes: int, shape: tuple[int, ...]) -> None:
    arm, budget = STUDENTS[student], Budget(params=params, activation_bytes=activation_bytes)
    drawn = space(arm.spaces[0], **arm.ranges).sample({}, budget, shape, 10, None)
    assert budget.fits(cost(drawn))
    assert budget.tightest(cost(drawn)) > 0.75


@pytest.mark.parametrize("method", METHODS)
def test_defaults_and_random_settings_are_the_methods_own(method: str) -> None:
    made = [make_method(METHODS[method][0], Pair("convnext", method, setting).settings) for setting in range(3)]
    assert len(made) == 3
    assert Pair("convnext", method, 1).settings == Pair("convnext", method, 1).settings


def test_a_pair_is_its_text() -> None:
    for pair in (Pair("convnext", "ctkd+kd"), Pair("resnet-1-1-1-1", "at", 7)):
        assert Pair.of(pair.text) == pair


def test_the_best_pairs_are_tuned_and_the_best_settings_of_different_pairs_are_finalists() -> None:
    kd, at, plain = Pair("convnext", "kd"), Pair("convnext", "at"), Pair("convnext", "none")
    screened = [record(kd, 0.9), record(at, None), record(plain, 0.91), record(Pair("convnext", "sp"), 0.8)]
    best = best_pairs(screened, SCREENING)
    assert best == [plain, kd]
    tuned = list(variants(best, SCREENING))
    assert tuned == [Pair("convnext", "kd", number) for number in (1, 2, 3)]
    tried = [*screened, record(tuned[0], 0.92), record(tuned[1], 0.93), record(tuned[2], None)]
    assert finalists(tried, best, SCREENING) == [tuned[1], plain]


def test_the_best_variant_is_that_of_the_highest_mean() -> None:
    first, second = Pair("convnext", "kd"), Pair("convnext", "at")
    runs = [record(first, 0.9, 0), record(first, 0.8, 1), record(second, 0.86, 0), record(second, 0.86, 1)]
    assert best_variant(runs) == second.text
    assert best_variant([]) is None
