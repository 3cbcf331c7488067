import math
import pickle
from dataclasses import replace

import optuna
import pytest
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from autokd.optimizers import HalvingPruner, OptimizerError, TrustRegionSampler
from autokd.optimizers.encoding import Encoding
from autokd.optimizers.history import History
from autokd.optimizers.proposal import propose
from autokd.optimizers.trust_region import Rules
from autokd.seeds import derive
from autokd.testing.optimizers import rebuilt

SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(-1, 1),
    "n": IntDistribution(1, 32, log=True),
    "k": CategoricalDistribution(("a", "b", "c")),
}


def sphere(trial):
    """Smallest, 0, at x = 0.3, n = 8, k = b."""
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
    """The next proposal, without telling its value."""
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


def test_works_as_it_comes_on_any_study():
    study = optuna.create_study(sampler=TrustRegionSampler())
    study.optimize(sphere, n_trials=3)
    assert len(study.trials) == 3


@pytest.mark.parametrize("objective", [sphere, with_steps])
def test_a_study_rebuilt_at_any_split_goes_on_with_the_same_proposal(objective):
    study = optuna.create_study(sampler=sampler(search_space=None), pruner=HalvingPruner())
    study.optimize(objective, n_trials=8)
    for number, trial in enumerate(study.trials):
        assert ask(rebuilt(study.trials[:number], sampler=sampler(search_space=None))) == trial.params


def test_a_study_rebuilt_with_running_trials_goes_on_with_the_same_proposal():
    study = study_of(5)
    running = [ask(study) for _ in range(2)]
    again = rebuilt(study.trials[:5], sampler=sampler())
    assert [ask(again) for _ in range(2)] == running
    assert ask(rebuilt(study.trials, sampler=sampler())) == ask(study)


def test_order_of_finishing_and_not_of_starting_decides():
    study = optuna.create_study(sampler=sampler())
    first, second = (study.ask() for _ in range(2))
    values = [sphere(first), sphere(second)]
    study.tell(second, values[1])
    study.tell(first, values[0])
    study.optimize(sphere, n_trials=5)
    assert ask(rebuilt(study.trials, sampler=sampler())) == ask(study)


def test_startup_points_are_one_sobol_sequence():
    study = study_of(4, seed=5)
    points = torch.tensor([codes(trial.params) for trial in study.trials])
    assert len({math.floor(4 * x) for x in points[:, 2].tolist()}) == 4  # x, the last name: one point a quarter


def test_maximising_the_negative_is_minimising():
    smaller, larger = study_of(8), study_of(8, lambda trial: -sphere(trial), direction="maximize")
    assert [t.params for t in smaller.trials] == [t.params for t in larger.trials]


def test_pending_trials_change_the_proposal_and_are_not_repeated():
    study = study_of(8)
    proposals = [ask(study) for _ in range(4)]
    assert len({tuple(codes(params)) for params in proposals}) == 4
    encoding = Encoding.of(SPACE)
    beside = History.of(study.trials[:11], encoding, -1)
    alone = replace(beside, pending=beside.pending[:0])
    rules = Rules.of(3, 4)
    with_pending, without = (propose(history, encoding, rules, 0, 11) for history in (beside, alone))
    assert with_pending.tolist() == codes(proposals[3])
    assert with_pending.tolist() != without.tolist()


def test_a_proposal_counts_as_pending_before_the_trial_has_asked_for_all_of_it():
    study = study_of(6)
    first = study.ask()
    first.suggest_float("x", -1, 1)
    second = ask(study)
    sphere(first)
    again = rebuilt(study.trials[:7], sampler=sampler())
    assert second == ask(again)


def test_a_finite_space_is_used_up_before_a_point_is_repeated():
    def objective(trial):
        return trial.suggest_int("n", 0, 4) + 10 * trial.suggest_categorical("k", ("a", "b")).count("b")

    study = study_of(12, objective, search_space=None, n_startup_trials=2)
    # The first trial's parameters are independent; all ten points come up before one comes again.
    assert len({tuple(sorted(t.params.items())) for t in study.trials[:10]}) == 10


def test_failed_trials_are_avoided():
    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        if x > 0.6:
            raise ArithmeticError
        return (x - 0.3) ** 2

    study = optuna.create_study(sampler=TrustRegionSampler(0, 4, {"x": FloatDistribution(0, 1)}))
    study.optimize(objective, n_trials=14, catch=ArithmeticError)
    states = [trial.state for trial in study.trials]
    assert TrialState.FAIL in states[:6]
    assert TrialState.FAIL not in states[6:]
    assert study.best_value < 1e-3


def test_a_restart_starts_a_fresh_space_filling_set_and_keeps_the_data():
    space = {"x": FloatDistribution(0, 1)}
    study = optuna.create_study(sampler=TrustRegionSampler(0, 2, space))
    for number in range(2 + 7 * 4):  # seven halvings at four failures each
        study.add_trial(optuna.trial.create_trial(value=1.0, params={"x": number / 100}, distributions=space))
    encoding = Encoding.of(space)
    sobol = encoding.sobol(30, 2, derive(0, "sobol"))[:, 0].tolist()
    for expected in sobol:
        trial = study.ask()
        assert trial.suggest_float("x", 0, 1) == pytest.approx(expected)
        study.tell(trial, 2.0)


def test_parameters_outside_the_space_are_sampled_by_seed_trial_and_name():
    def objective(trial):
        return trial.suggest_float("y", 0, 1) + trial.suggest_float("z", 0, 1)

    first, second = study_of(2, objective), study_of(2, objective)
    assert [t.params for t in first.trials] == [t.params for t in second.trials]
    values = [value for trial in first.trials for value in trial.params.values()]
    assert len(set(values)) == 4


def test_single_valued_parameters_are_no_coordinates():
    space = {"x": FloatDistribution(0, 1), "one": IntDistribution(3, 3)}
    study = optuna.create_study(sampler=TrustRegionSampler(0, search_space=space))
    trial = study.ask(space)
    assert trial.params["one"] == 3
    assert set(trial.relative_params) == {"x"}


def test_bounds_that_change_between_trials_are_met():
    def objective(trial):
        return trial.suggest_float("x", 0, 1 + trial.number % 3)

    study = optuna.create_study(sampler=TrustRegionSampler(0, 2))
    study.optimize(objective, n_trials=8)
    assert all(0 <= trial.params["x"] <= 1 + trial.number % 3 for trial in study.trials)


def test_several_objectives_are_refused():
    study = optuna.create_study(sampler=sampler(), directions=["minimize", "minimize"])
    with pytest.raises(OptimizerError, match="one objective"):
        ask(study)


def test_wrong_options_are_refused_at_once():
    with pytest.raises(OptimizerError, match="at least 1"):
        TrustRegionSampler(n_startup_trials=0)
    with pytest.raises(OptimizerError, match="noise"):
        TrustRegionSampler(noise=-1)


def test_proposals_survive_a_database(tmp_path):
    """Any choice, None among them, goes through the JSON of a stored study."""
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "log")))
    study = optuna.create_study(storage=storage, sampler=sampler())
    study.optimize(sphere, n_trials=6)
    assert [t.params for t in study.trials] == [t.params for t in study_of(6).trials]


def test_a_sampler_can_be_copied():
    study, copy = study_of(5), pickle.loads(pickle.dumps(sampler()))
    assert ask(rebuilt(study.trials, sampler=copy)) == ask(study)


def test_threads_may_share_a_study():
    study = optuna.create_study(sampler=sampler())
    study.optimize(sphere, n_trials=8, n_jobs=2)
    assert len({tuple(codes(t.params)) for t in study.trials}) == 8
