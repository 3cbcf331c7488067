import numpy as np
import pytest
from nearest import NearestTask
from optuna.distributions import FloatDistribution
from tasks import Array


@pytest.fixture
def task() -> NearestTask:
    """Thirty settings, of which one parameter varies thirty times as much as the other."""
    settings = [params(point) for point in np.random.default_rng(0).normal(size=(30, 2)) * [3.0, 0.1]]
    space = {name: FloatDistribution(1e-12, 1e12, log=True) for name in ("wide", "narrow")}
    return NearestTask("two", space, np.zeros((30, 1)), np.ones((30, 1)), settings=settings)


@pytest.fixture
def points() -> Array:
    """Fifty other settings, in logarithms."""
    return np.random.default_rng(1).normal(size=(50, 2)) * [3.0, 0.1]


def params(point: Array) -> dict[str, float]:
    return {"wide": 10.0 ** point[0], "narrow": 10.0 ** point[1]}


def from_near_to_far(task: NearestTask, point: Array) -> list[int]:
    logs = np.log10([list(setting.values()) for setting in task.settings])
    return sorted(range(30), key=lambda row: sum(((point - logs[row]) / logs.std(axis=0)) ** 2))


def test_a_setting_is_looked_up_as_the_nearest_in_standardised_logarithms(task: NearestTask, points: Array) -> None:
    assert [task.row(task.params(row)) for row in range(30)] == list(range(30))
    assert [task.row(params(point)) for point in points] == [from_near_to_far(task, point)[0] for point in points]


def test_a_setting_repeated_is_each_recorded_one_once_from_near_to_far_and_then_the_nearest(
    task: NearestTask, points: Array
) -> None:
    for point in points[:5]:
        trained: list[int] = []
        for _ in range(30):
            trained.append(task.row(params(point), set(trained)))
        assert trained == from_near_to_far(task, point)
        assert task.row(params(point), set(trained)) == trained[0]
