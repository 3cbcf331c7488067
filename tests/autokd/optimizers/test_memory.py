"""The sampler with earlier studies from which to learn."""

import pickle
from statistics import median

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler

from autokd.optimizers import OptimizerError, TrustRegionSampler, sampler
from autokd.testing.optimizers import SamplerConformance, rebuilt

N_STARTUP = 6
CUBE: dict[str, BaseDistribution] = {name: FloatDistribution(-1, 1) for name in "xyz"}


def bowl(trial):
    """Minimum 0 at x = 0.3, y = -0.2, z = 0."""
    x, y, z = (trial.suggest_float(name, -1, 1) for name in "xyz")
    return (x - 0.3) ** 2 + (y + 0.2) ** 2 + z**2


def shifted(trial):
    """Nearly the same function, in another unit and direction, of one parameter more."""
    trial.suggest_categorical("other", ("a", "b"))
    return 5 - 100 * bowl(trial) - 3 * trial.params["x"]


def inverted(trial):
    return -bowl(trial)


def study_of(objective, n_trials, seed=0, earlier=(), direction="minimize", **options):
    made = optuna.create_study(
        sampler=TrustRegionSampler(seed, n_startup_trials=N_STARTUP, earlier=earlier, **options), direction=direction
    )
    made.optimize(objective, n_trials=n_trials)
    return made


@pytest.fixture(scope="module")
def related():
    return study_of(shifted, 25, direction="maximize")


@pytest.fixture(scope="module")
def opposite():
    return study_of(inverted, 25)


class TestWithMemory(SamplerConformance):
    """Of a study that has one parameter of each of the suite's spaces."""

    def make(self, seed: int, trial_number: int) -> BaseSampler:
        made = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
        made.optimize(
            lambda trial: trial.suggest_float("rate", 1e-4, 1.0, log=True) + trial.suggest_int("layers", 1, 2), 8
        )
        return sampler("trust-region", seed, trial_number=trial_number, n_startup_trials=3, earlier=[made])


def test_a_related_study_makes_the_first_trials_better(related) -> None:
    cold, warm = (
        median(study_of(bowl, N_STARTUP, seed, earlier, search_space=CUBE).best_value for seed in range(3))
        for earlier in ((), (related,))
    )
    assert warm < cold / 4


def test_three_of_four_startup_points_are_the_searchs_own(related) -> None:
    cold, warm = (study_of(bowl, N_STARTUP, 1, earlier, search_space=CUBE).trials for earlier in ((), (related,)))
    same = [a.params == b.params for a, b in zip(cold, warm, strict=True)]
    assert same == [number % 4 != 0 for number in range(N_STARTUP)]


def test_an_own_point_that_the_earlier_study_suggested_is_not_tried_again() -> None:
    space: dict[str, BaseDistribution] = {
        "kind": CategoricalDistribution(("a", "b")),
        "rate": FloatDistribution(0, 1),
        "width": FloatDistribution(0, 1),
    }
    options = {"search_space": space, "conditions": {"rate": ("kind", ("a",)), "width": ("kind", ("b",))}}

    def conditional(trial):
        if trial.suggest_categorical("kind", ("a", "b")) == "a":
            return 1 + trial.suggest_float("rate", 0, 1)
        return 1 - trial.suggest_float("width", 0, 1)

    first = study_of(conditional, N_STARTUP, **options)
    second = study_of(conditional, N_STARTUP, earlier=[first], **options)
    points = [tuple(sorted(trial.params.items())) for trial in second.trials]
    assert dict(points[0]) == first.best_params != first.trials[0].params
    assert len(set(points)) == N_STARTUP


def test_what_the_observations_refute_has_no_influence(opposite) -> None:
    trials = study_of(bowl, 12, 1).trials
    with_memory, without = (
        rebuilt(trials, TrustRegionSampler(1, n_startup_trials=N_STARTUP, earlier=earlier))
        for earlier in ((opposite,), ())
    )
    for _ in range(2):  # both views of the objective
        proposals = [study.ask(CUBE).params for study in (with_memory, without)]
        assert proposals[0] == proposals[1]


def test_a_study_that_shares_no_parameter_changes_nothing() -> None:
    other = study_of(lambda trial: trial.suggest_float("rate", 0, 1), 8)
    first, second = (study_of(bowl, 8, 1, earlier).trials for earlier in ((), (other,)))
    assert [trial.params for trial in first] == [trial.params for trial in second]


def test_trials_that_come_later_are_not_learnt_from(related) -> None:
    growing = rebuilt(related.trials[:10], direction="maximize")
    made = TrustRegionSampler(1, n_startup_trials=N_STARTUP, earlier=[growing])
    copy = pickle.loads(pickle.dumps(made))
    growing.add_trials(related.trials[10:])
    trials = study_of(bowl, 3, 1).trials
    proposals = [rebuilt(trials, each).ask(CUBE).params for each in (made, copy)]
    assert proposals[0] == proposals[1]


def test_the_front_of_several_objectives_is_learnt_from_such_studies() -> None:
    def two(trial):
        x, y = (trial.suggest_float(name, 0, 1) for name in "xy")
        return x + y, (1 - x) ** 2 + y

    def study(n, earlier):
        space = {name: FloatDistribution(0, 1) for name in "xy"}
        sampler = TrustRegionSampler(2, n_startup_trials=5, search_space=space, earlier=earlier)
        made = optuna.create_study(sampler=sampler, directions=["minimize"] * 2)
        made.optimize(two, n)
        return made

    cold, warm = (min(trial.params["y"] for trial in study(5, earlier).trials) for earlier in ([], [study(20, [])]))
    assert warm < 0.05 < cold
    with pytest.raises(OptimizerError, match="must have 1 objectives"):
        study_of(bowl, 3, 0, [study(1, [])])
