import math
from itertools import product

import pytest

from autokd.searches.lengths import (
    CLIMBING,
    RESERVE,
    SEARCH_RESERVE,
    SHORTEST,
    FullLength,
    affordable_epochs,
    scaled_rungs,
)


def length(affordable: float, n_train: int | None = 55_000) -> FullLength:
    speed = None if n_train is None else 660.0
    return FullLength(540.0, 0.0, 55_000 / 660, speed, trainings=2, workers=2, trial=3, affordable=affordable)


@pytest.mark.parametrize(("trainings", "workers", "rounds"), [(1, 1, 1), (2, 2, 1), (3, 2, 2), (4, 2, 2), (2, 8, 1)])
def test_what_is_affordable_is_the_time_over_that_of_an_epoch_in_each_round(
    trainings: int, workers: int, rounds: int
) -> None:
    by_hand = (1 - RESERVE) * 540 / (rounds * 55_000 / 660)
    found = affordable_epochs(540, 55_000 / 660, trainings, workers)
    assert by_hand - 0.1 < found <= by_hand


def test_the_affordable_epochs_end_in_time_on_simulated_workers() -> None:
    for seconds, per_epoch, trainings, workers in product((10, 540), (0.7, 80), (1, 3, 5), (1, 2, 4)):
        epochs = affordable_epochs(seconds, per_epoch, trainings, workers)
        free_at = [0.0] * workers
        for _ in range(trainings):  # each goes to the worker that is free first
            free_at[free_at.index(min(free_at))] += epochs * per_epoch
        assert max(free_at) <= (1 - RESERVE) * seconds + 1e-9


def test_no_time_affords_no_epoch() -> None:
    assert affordable_epochs(-5, 1, 1, 1) == 0


@pytest.mark.parametrize(
    ("affordable", "most", "epochs"), [(6.4, 26, 6.4), (30.1, 26, 26), (0.3, 26, 1), (0.3, 0.5, 0.5), (6.4, 4.5, 4.5)]
)
def test_epochs_are_what_is_affordable_but_at_least_one_and_at_most_the_cap(
    affordable: float, most: float, epochs: float
) -> None:
    assert length(affordable).epochs(most) == epochs


def test_the_length_is_described_with_its_reason() -> None:
    assert length(6.4).describe(26) == "6.4 epochs in 540 s at 660 images/s"
    assert length(0.3).describe(26) == "1 epoch, the least; 540 s at 660 images/s allow 0.3"
    assert length(30.1, None).describe(26) == "26 epochs, the most; 540 s at 83.3 s an epoch allow 30.1"


def test_rungs_stay_where_all_trials_fit() -> None:
    assert scaled_rungs((0.5, 1.5), (0.5, 1.15), 1e6, 50, trials=12, others=3, prunes=True) == (0.5, 1.5)


def test_rungs_are_shortened_by_the_factor_at_which_the_trials_fit() -> None:
    time = (12 * 0.5 + 12 * CLIMBING * 1.15) * 50
    rungs = scaled_rungs((0.5, 1.5), (0.5, 1.15), 500, 50, trials=12, others=0, prunes=True)
    factor = (1 - SEARCH_RESERVE) * 500 / time
    assert SHORTEST < factor < 1
    assert rungs == pytest.approx((0.5 * factor, 1.5 * factor), rel=0.005)


def test_trainings_that_are_never_pruned_take_all_of_their_time() -> None:
    rungs = scaled_rungs((1, 3), (1, 2), 200, 5, trials=10, others=5, prunes=True)
    assert rungs[0] == pytest.approx(160 / (5 * (10 * 1 + 5 * 1 + 10 * CLIMBING * 2 + 5 * 2)), rel=0.005)
    unpruned = scaled_rungs((1, 3), (1, 2), 200, 5, trials=10, others=5, prunes=False)
    assert unpruned == scaled_rungs((1, 3), (1, 2), 200, 5, trials=0, others=15, prunes=True)


@pytest.mark.parametrize("seconds", [1.0, 0.0, -7.0])
def test_rungs_are_never_shorter_than_a_quarter(seconds: float) -> None:
    rungs = scaled_rungs((0.5, 1.5), (0.5, 1.15), seconds, 50, trials=12, others=0, prunes=True)
    assert rungs == (0.5 * SHORTEST, 1.5 * SHORTEST)
    assert all(math.isfinite(rung) for rung in rungs)
