import math

import pytest

from autokd.training.schedule import cosine


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
def test_cosine_at_named_points(progress: float, warmup: float, expected: float):
    assert cosine(progress, warmup) == pytest.approx(expected, abs=1e-15)


def test_cosine_rises_through_the_warm_up_and_falls_after_it():
    values = [cosine(step / 1000, 0.05) for step in range(1001)]
    assert values[:51] == sorted(values[:51])
    assert values[50:] == sorted(values[50:], reverse=True)
    assert max(values) == 1
