import math
import pickle
import random
import sys
from collections import Counter
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from autokd.optimizers import HalvingPruner, OptimizerError, TrustRegionSampler
from autokd.optimizers.archive import Past
from autokd.optimizers.history import History
from autokd.optimizers.hypervolume import hypervolume
from autokd.optimizers.proposal import propose
from autokd.optimizers.space.encoding import Encoding
from autokd.optimizers.trust_region import Rules
from autokd.testing.optimizers import rebuilt

FLOATS = FloatDistribution(0, 100)
SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(-1, 1),
    "n": IntDistribution(1, 32, log=True),
    "k": CategoricalDistribution(("a", "b", "c")),
}


def sphere(trial):
    """Minimum 0 at x = 0.3, n = 8, k = b."""
    x = trial.suggest_float("x", -1, 1)
    n = trial.suggest_int("n", 1, 32, log=True)
    return (x - 0.3) ** 2 + (math.log(n / 8) / 4) ** 2 + 0.5 * (trial.suggest_categorical("k", ("a", "b", "c")) != "b")


def sampler(seed=0, **options):
    return TrustRegionSampler(seed, **{"n_startup_trials": 4, "search_space": SPACE, **options})


def study_of(n_trials, objective=sphere, direction="minimize", **options):
    study = optuna.create_study(sampler=sampler(**options), direction=direction)
    study.optimize(objective, n_trials=n_trials)
    return study


def ask(study, objective=sphere):
    """The next proposal; its trial keeps running."""
    trial = study.ask()
    objective(trial)
    return trial.params


def codes(params):
    return Encoding.of(SPACE).encode(params)


def with_steps(trial):
    value = sphere(trial)
    for step in (1, 3, 9):
        trial.report(value + 1 / step, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return value


def test_works_with_its_defaults_on_any_study() -> None:
    study = optuna.create_study(sampler=TrustRegionSampler())
    study.optimize(sphere, n_trials=3)
    assert len(study.trials) == 3


@pytest.mark.parametrize("objective", [sphere, with_steps])
def test_a_study_rebuilt_after_any_trial_continues_with_the_same_proposal(objective) -> None:
    study = optuna.create_study(sampler=sampler(search_space=None), pruner=HalvingPruner())
    study.optimize(objective, n_trials=8)
    for number, trial in enumerate(study.trials):
        assert ask(rebuilt(study.trials[:number], sampler=sampler(search_space=None))) == trial.params


def test_a_study_rebuilt_with_running_trials_continues_with_the_same_proposal() -> None:
    study = study_of(5)
    running = [ask(study) for _ in range(2)]
    again = rebuilt(study.trials[:5], sampler=sampler())
    assert [ask(again) for _ in range(2)] == running
    assert ask(rebuilt(study.trials, sampler=sampler())) == ask(study)


def test_proposals_depend_on_the_order_of_finishing_and_not_of_starting() -> None:
    study = optuna.create_study(sampler=sampler())
    first, second = (study.ask() for _ in range(2))
    values = [sphere(first), sphere(second)]
    study.tell(second, values[1])
    study.tell(first, values[0])
    study.optimize(sphere, n_trials=5)
    assert ask(rebuilt(study.trials, sampler=sampler())) == ask(study)


def test_startup_points_are_one_sobol_sequence() -> None:
    study = study_of(4, seed=5)
    points = torch.tensor([codes(trial.params) for trial in study.trials])
    assert len({math.floor(4 * x) for x in points[:, 2].tolist()}) == 4  # x, the last name: one point in each quarter


def test_maximising_the_negative_is_minimising() -> None:
    smaller, larger = study_of(8), study_of(8, lambda trial: -sphere(trial), direction="maximize")
    assert [t.params for t in smaller.trials] == [t.params for t in larger.trials]


def test_pending_trials_change_the_proposal_and_are_not_repeated() -> None:
    study = study_of(8)
    proposals = [ask(study) for _ in range(4)]
    assert len({tuple(codes(params)) for params in proposals}) == 4
    encoding = Encoding.of(SPACE)
    parallel = History.of(study.trials[:11], encoding, [-1])
    sequential = replace(parallel, pending=parallel.pending[:0])
    config = study.sampler._config(encoding, [-1])
    with_pending, without = (
        propose(Past.of(history, config.rules), encoding, config, 11) for history in (parallel, sequential)
    )
    assert with_pending.tolist() == codes(proposals[3])
    assert with_pending.tolist() != without.tolist()


def test_a_proposal_is_pending_before_the_trial_has_asked_for_all_of_it() -> None:
    study = study_of(6)
    first = study.ask()
    first.suggest_float("x", -1, 1)
    second = ask(study)
    sphere(first)
    again = rebuilt(study.trials[:7], sampler=sampler())
    assert second == ask(again)


def test_a_deterministic_objective_repeats_no_point_before_a_finite_space_is_used_up() -> None:
    def objective(trial):
        return trial.suggest_int("n", 0, 4) + 10 * trial.suggest_categorical("k", ("a", "b")).count("b")

    study = study_of(12, objective, search_space=None, n_startup_trials=2, deterministic=True)
    # The first trial's parameters are sampled independently; all ten points are tried before one is repeated.
    assert len({tuple(sorted(t.params.items())) for t in study.trials[:10]}) == 10


def test_a_noisy_objective_is_observed_again_where_it_is_best() -> None:
    rng = np.random.default_rng(0)

    def objective(trial):
        return abs(trial.suggest_int("n", 0, 99) - 40) / 100 + 0.1 * rng.normal()

    space = {"n": IntDistribution(0, 99)}
    study = optuna.create_study(sampler=TrustRegionSampler(0, 5, space))
    study.optimize(objective, n_trials=40)
    times = Counter(trial.params["n"] for trial in study.trials)
    repeated = [n for n, count in times.items() if count > 1]
    assert repeated
    assert all(25 < n < 55 for n in repeated)


def test_failed_trials_are_avoided() -> None:
    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        if x > 0.6:
            raise ArithmeticError
        return (x - 0.3) ** 2

    study = optuna.create_study(sampler=TrustRegionSampler(0, 4, {"x": FloatDistribution(0, 1)}))
    study.optimize(objective, n_trials=14, catch=ArithmeticError)
    states = [trial.state for trial in study.trials]
    assert TrialState.FAIL in states[:6]
    assert states[6:].count(TrialState.FAIL) <= 1  # random search has 3
    assert study.best_value < 1e-3


def test_a_short_region_proposes_near_its_centre_and_a_restarted_one_everywhere() -> None:
    space: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1)}
    n_failures = 9 * Rules.of(1).failure_tolerance  # from 2 to below 1/128

    def proposed_after(n_trials):
        """Proposal after trials in the left third, which is rugged and has its minimum near 0.19."""
        study = optuna.create_study(sampler=TrustRegionSampler(0, 2, space, deterministic=True))
        for number in range(n_trials):
            x = 0.192 if number == 1 else 0.3 * number / n_failures
            value = math.sin(90 * x) - 2 * math.exp(-(((x - 0.192) / 0.02) ** 2))
            study.add_trial(optuna.trial.create_trial(value=value, params={"x": x}, distributions=space))
        return study.ask().suggest_float("x", 0, 1)

    assert abs(proposed_after(2 + n_failures - 1) - 0.192) < 1 / 64
    assert proposed_after(2 + n_failures) > 0.35


def test_parameters_outside_the_space_are_sampled_by_seed_trial_and_name() -> None:
    def objective(trial):
        return trial.suggest_float("y", 0, 1) + trial.suggest_float("z", 0, 1)

    first, second = study_of(2, objective), study_of(2, objective)
    assert [t.params for t in first.trials] == [t.params for t in second.trials]
    values = [value for trial in first.trials for value in trial.params.values()]
    assert len(set(values)) == 4


def test_parameters_of_a_single_value_are_not_coordinates() -> None:
    space = {"x": FloatDistribution(0, 1), "one": IntDistribution(3, 3)}
    study = optuna.create_study(sampler=TrustRegionSampler(0, search_space=space))
    trial = study.ask(space)
    assert trial.params["one"] == 3
    assert set(trial.relative_params) == {"x"}


def test_bounds_that_change_between_trials_are_respected() -> None:
    def objective(trial):
        return trial.suggest_float("x", 0, 1 + trial.number % 3)

    study = optuna.create_study(sampler=TrustRegionSampler(0, 2))
    study.optimize(objective, n_trials=8)
    assert all(0 <= trial.params["x"] <= 1 + trial.number % 3 for trial in study.trials)


def test_no_proposal_violates_a_constraint_that_can_be_computed() -> None:
    def allowed(params):
        return params["x"] < -0.5 and params["n"] > 8 and params["k"] != "a"

    study = study_of(15, feasible=allowed)
    assert all(allowed(trial.params) for trial in study.trials)
    assert study.best_value < 0.68  # 0.64 + 0.003 at x = -0.5, n = 9, k = b


def test_a_forbidden_point_that_a_user_tried_is_not_proposed_again() -> None:
    noise = random.Random(0)
    space = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
    sampler = TrustRegionSampler(0, search_space=space, feasible=lambda params: params["x"] <= 0.5)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    given = [{"x": 0.95, "y": 0.5}, {"x": 0.9, "y": 0.5}]
    for point in given:
        study.enqueue_trial(point)
    study.optimize(lambda trial: sum(trial.suggest_float(n, 0, 1) for n in "xy") + noise.gauss(0, 0.3), n_trials=20)
    assert [trial.params for trial in study.trials if trial.params["x"] > 0.5] == given


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("n_startup", [3, 5])
def test_conditional_points_are_all_tried_before_one_is_tried_again(seed: int, n_startup: int) -> None:
    space: dict[str, BaseDistribution] = {
        "kind": CategoricalDistribution(["p", "q", "r"]),
        "depth": IntDistribution(0, 3),  # of kind p only
    }
    conditions = {"depth": ("kind", ["p"])}
    sampler = TrustRegionSampler(seed, n_startup, deterministic=True, search_space=space, conditions=conditions)
    study = optuna.create_study(sampler=sampler, direction="maximize")

    def objective(trial: optuna.Trial) -> float:
        kind = trial.suggest_categorical("kind", ["p", "q", "r"])
        return trial.suggest_int("depth", 0, 3) if kind == "p" else 0.5

    study.optimize(objective, n_trials=6)
    assert len({tuple(trial.params.items()) for trial in study.trials}) == 6


@pytest.mark.parametrize(("distribution", "cast"), [(IntDistribution(0, 100), np.int64), (FLOATS, np.float32)])
def test_trials_that_were_added_with_numbers_of_numpy_count(distribution: BaseDistribution, cast: Any) -> None:
    histories = []
    for each in (float if distribution is FLOATS else int, cast):
        study = optuna.create_study()
        for value in range(0, 101, 25):
            trial = create_trial(params={"n": each(value)}, distributions={"n": distribution}, value=float(value))
            study.add_trial(trial)
        histories.append(History.of(study.trials, Encoding.of({"n": distribution}), [-1.0]).finished)
    assert torch.equal(*histories)
    assert len(set(histories[1].flatten().tolist())) == 5


def test_a_range_of_infinite_width_is_an_error() -> None:
    space: dict[str, BaseDistribution] = {"x": FloatDistribution(-1e308, 1e308)}
    study = optuna.create_study(sampler=TrustRegionSampler(seed=0, search_space=space))
    with pytest.raises(OptimizerError, match="must have a finite width"):
        study.ask(space)


def test_a_constraint_that_allows_no_point_is_an_error() -> None:
    with pytest.raises(OptimizerError, match="rejected all"):
        study_of(1, feasible=lambda params: False)


def test_measured_constraints_are_learned() -> None:
    def objective(trial):
        value = sphere(trial)
        trial.set_constraint("x", trial.params["x"] + 0.1)
        return value

    study = study_of(25, objective)
    kept = [trial.params["x"] <= -0.1 for trial in study.trials]
    assert sum(kept[10:]) >= 10
    best = min(trial.value for trial, keeps in zip(study.trials, kept, strict=True) if keeps)
    assert best < 0.2  # 0.16 where the constraint is active


def test_features_help_if_the_objective_is_a_function_of_them() -> None:
    """The objective is the longest run of equal categories, which is the feature."""
    space: dict[str, BaseDistribution] = {name: CategoricalDistribution("abcd") for name in "uvwxyz"}

    def longest_run(params):
        return max(len(list(run)) for _, run in groupby(params[name] for name in space))

    def n_until_best(seed, **options):
        study = optuna.create_study(sampler=TrustRegionSampler(seed, search_space=space, deterministic=True, **options))
        for _ in range(26):
            trial = study.ask(space)
            study.tell(trial, -longest_run(trial.params))
        return next((trial.number for trial in study.trials if trial.value == -6), 26)

    informed = [n_until_best(seed, features=lambda params: [longest_run(params)]) for seed in range(3)]
    assert sum(informed) < 0.75 * sum(n_until_best(seed) for seed in range(3))  # 38 and 59


def test_features_must_be_numbers() -> None:
    with pytest.raises(OptimizerError, match=r"`features` must be 1 finite numbers, but got \[inf\]"):
        study_of(6, features=lambda params: [math.inf])


def two_objectives(trial):
    """The front is x in [0, 0.5] with y = 0."""
    x, y = trial.suggest_float("x", -1, 1), trial.suggest_float("y", 0, 1)
    return x**2 + y, (x - 0.5) ** 2 + y


def test_the_front_of_several_objectives_is_found() -> None:
    space = {"x": FloatDistribution(-1, 1), "y": FloatDistribution(0, 1)}

    def dominated(sampler):
        study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
        study.optimize(two_objectives, n_trials=30)
        return hypervolume(-np.array([trial.values for trial in study.trials]), np.array([-0.3, -0.3]))

    ours = dominated(TrustRegionSampler(0, 5, space, reference_point=(0.3, 0.3)))
    front = np.array([[x**2, (x - 0.5) ** 2] for x in np.linspace(0, 0.5, 1001)])
    whole = hypervolume(-front, np.array([-0.3, -0.3]))
    assert ours > 0.9 * whole
    assert ours > dominated(optuna.samplers.RandomSampler(0))


def test_several_objectives_work_without_a_reference_point_and_with_running_trials() -> None:
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=TrustRegionSampler(0, 3))
    running = []
    for _ in range(10):
        trial = study.ask()
        running.append((trial, two_objectives(trial)))
        if len(running) == 3:
            study.tell(*running.pop(0))
    assert len({tuple(trial.params.values()) for trial in study.trials}) == 10


def test_a_reference_point_must_fit_the_objectives() -> None:
    with pytest.raises(OptimizerError, match="each of the 1 objectives"):
        ask(optuna.create_study(sampler=sampler(reference_point=(1, 2))))


def test_the_constructor_rejects_invalid_options() -> None:
    with pytest.raises(OptimizerError, match="at least 1"):
        TrustRegionSampler(n_startup_trials=0)
    with pytest.raises(OptimizerError, match="noise"):
        TrustRegionSampler(noise=-1)
    with pytest.raises(OptimizerError, match="parents before their children, but 'leaf' precedes 'branch'"):
        TrustRegionSampler(conditions={"leaf": ("branch", (1,)), "branch": ("root", (1,))})


def test_proposals_are_the_same_with_a_stored_study(tmp_path) -> None:
    """Any choice, including None, survives the JSON of a stored study."""
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(tmp_path / "log")))
    study = optuna.create_study(storage=storage, sampler=sampler())
    study.optimize(sphere, n_trials=6)
    assert [t.params for t in study.trials] == [t.params for t in study_of(6).trials]


def test_a_sampler_can_be_copied() -> None:
    study, copy = study_of(5), pickle.loads(pickle.dumps(sampler()))
    assert ask(rebuilt(study.trials, sampler=copy)) == ask(study)


def test_threads_may_share_a_study() -> None:
    study = optuna.create_study(sampler=sampler())
    study.optimize(sphere, n_trials=8, n_jobs=2)
    assert len({tuple(codes(t.params)) for t in study.trials}) == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_startup_trials": 1.5}, "`n_startup_trials` must be a whole number of at least 1, but got 1.5"),
        ({"n_startup_trials": True}, "`n_startup_trials` must be a whole number of at least 1, but got True"),
        ({"n_trials": -5}, "`n_trials` must be a whole number of at least 0, but got -5"),
        ({"noise": float("nan")}, "`noise` must be a finite number, but got nan"),
        ({"noise": float("inf")}, "`noise` must be a finite number, but got inf"),
        ({"noise": True}, "`noise` must be a finite number, but got True"),
        ({"deterministic": "no"}, "`deterministic` must be a bool, but got 'no'"),
        ({"feasible": "yes"}, "`feasible` must be a function, but got 'yes'"),
        ({"reference_point": 3}, "`reference_point` must be a sequence of finite numbers, but got 3"),
        ({"reference_point": "a"}, "`reference_point` must be a sequence of finite numbers, but got 'a'"),
        ({"reference_point": [math.nan, 1]}, "`reference_point` must be a sequence of finite numbers, but got"),
        ({"reference_point": [1, -math.inf]}, "`reference_point` must be a sequence of finite numbers, but got"),
        ({"reference_point": ["a", 1]}, "`reference_point` must be a sequence of finite numbers, but got"),
        ({"reference_point": {"a": 1}}, "`reference_point` must be a sequence of finite numbers, but got"),
        ({"reference_point": {1, 2}}, "`reference_point` must be a sequence of finite numbers, but got"),
    ],
)
def test_an_option_of_another_type_is_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptimizerError, match=message):
        TrustRegionSampler(seed=0, **options)


def test_differences_that_are_tiny_beside_a_penalty_end_no_study() -> None:
    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        return 1e308 if x < 0.2 else x * 1e-220

    for direction in ("minimize", "maximize"):
        study = optuna.create_study(direction=direction, sampler=TrustRegionSampler(seed=0))
        study.optimize(objective, n_trials=14)
        assert len(study.trials) == 14


@pytest.mark.parametrize("make", [list, tuple, np.array, torch.tensor])
def test_a_reference_point_is_any_sequence_of_numbers(make) -> None:
    study = optuna.create_study(
        directions=["minimize", "minimize"], sampler=TrustRegionSampler(seed=0, reference_point=make([1.0, 1.0]))
    )
    study.optimize(lambda trial: ((x := trial.suggest_float("x", 0, 1)), 1 - x), n_trials=7)
    assert len(study.trials) == 7


@pytest.mark.parametrize("penalty", [1e308, sys.float_info.max])
@pytest.mark.parametrize("n_objectives", [1, 3])
def test_penalties_near_the_largest_number_end_no_study(penalty, n_objectives) -> None:
    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        trial.set_constraint("fits", penalty if x > 0.8 else -1.0)
        return [penalty if x > 0.5 else (x - 0.2 * k) ** 2 for k in range(n_objectives)]

    study = optuna.create_study(directions=["minimize"] * n_objectives, sampler=sampler(search_space=None))
    study.optimize(objective, n_trials=6)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 6


def test_the_noise_of_an_objective_is_not_that_of_a_hypervolume() -> None:
    encoding, noisy = Encoding.of(SPACE), sampler(noise=0.5)
    assert [noisy._config(encoding, [1.0] * n).rules.noise for n in (1, 2)] == [0.5, 0.0]
