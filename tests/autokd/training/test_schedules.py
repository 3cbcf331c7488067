import math

import pytest

from autokd.training.schedules import Cooldown, Cosine, Trunk, cosine


@pytest.mark.parametrize(
    ("progress", "warmup", "expected"),
    [
        (0.0, 0.2, 0.0),
        (0.1, 0.2, 0.5),
        (0.2, 0.2, 1.0),
        (0.6, 0.2, 0.5),
        (1.0, 0.2, 0.0),
        (0.0, 0.0, 1.0),
        (0.5, 0.0, 0.5),
        (0.4, 0.2, (1 + math.sqrt(0.5)) / 2),  # an eighth of a turn
    ],
)
def test_cosine_at_named_points(progress: float, warmup: float, expected: float) -> None:
    assert cosine(progress, warmup) == pytest.approx(expected, abs=1e-15)


def test_cosine_rises_through_the_warm_up_and_falls_after_it() -> None:
    values = [cosine(step / 1000, 0.05) for step in range(1001)]
    assert values[:51] == sorted(values[:51])
    assert values[50:] == sorted(values[50:], reverse=True)
    assert max(values) == 1


def test_a_cosine_schedule_counts_steps_from_one() -> None:
    schedule = Cosine(10, 0.2)
    assert [schedule(step) for step in (1, 2, 6, 10)] == pytest.approx([0.5, 1.0, 0.5, 0.0], abs=1e-15)


@pytest.mark.parametrize(("step", "expected"), [(1, 0.25), (3, 0.75), (4, 1.0), (5, 1.0), (10**9, 1.0)])
def test_a_trunk_at_named_steps(step: int, expected: float) -> None:
    assert Trunk(4)(step) == expected


def test_a_trunk_without_warm_up_begins_at_the_peak() -> None:
    assert Trunk(0)(1) == 1.0


@pytest.mark.parametrize(("step", "expected"), [(21, 0.75), (24, 0.5), (29, 0.25), (36, 0.0)])
def test_a_cooldown_at_named_steps(step: int, expected: float) -> None:
    assert Cooldown(Trunk(4), 20, 36)(step) == expected


def test_a_cooldown_of_a_trunk_that_warms_up_is_their_product() -> None:
    assert Cooldown(Trunk(8), 0, 4)(1) == 1 / 8 * (1 - 1 / 2)
