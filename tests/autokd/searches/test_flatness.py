import numpy as np
import pytest

from autokd.searches.flatness import flatness
from autokd.searches.proposals import propose


@pytest.fixture
def make_trials(make_problem, make_record):
    """Makes complete trials of two students, whose noise has a deviation of 0.01, and one that was pruned."""

    def make(n: int, slope: float):
        problem = make_problem(trials=n, students_per_trial=2)
        rng, records = np.random.default_rng(3), []
        for number in range(n):
            parameters = propose(problem, [], number)
            value = 0.8 + slope * parameters["weight"]
            last = (value + 0.01 * rng.normal(size=2)).tolist()
            records.append(make_record(number, [[0.1, 0.9], last], "complete", parameters, number, value))
        pruned = make_record(n, [[0.2, 0.1]], "pruned", parameters, n, 0.15)
        return problem, [*records, pruned]

    return make


def test_families_that_differ_by_noise_alone_are_flat_and_their_number_is_told(make_trials):
    found = flatness(*make_trials(12, slope=0.0))
    assert (found.n, found.observations, found.is_flat) == (12, 2, True)


def test_families_that_differ_are_not_flat(make_trials):
    found = flatness(*make_trials(12, slope=0.1))
    assert not found.is_flat
    assert found.low >= 1


def test_nothing_is_said_of_few_trials(make_trials):
    assert flatness(*make_trials(7, slope=0.0)) is None
