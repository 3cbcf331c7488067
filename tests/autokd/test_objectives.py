"""Searches of several objectives: accuracy against cost, from the proposal to the front."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from inline_searches import rows, run
from optuna.trial import TrialState

from autokd.database.store import Store
from autokd.errors import InputError
from autokd.evaluation.task import EvaluationTask
from autokd.searches.preflight import check_choices
from autokd.searches.problem import Problem
from autokd.searches.proposals import propose
from autokd.searches.study import to_study
from autokd.searches.trial_record import trial_records
from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture

MakeProblem = Callable[..., Problem]
MakeStore = Callable[..., Store]
Pretend = Callable[..., None]
OBJECTIVES = ["accuracy", "macs"]
LIMITS = {"params": 4_000, "macs": 60_000}
TWO_RUNGS = {"rungs": [1, 3]}


@pytest.fixture
def make_traded(make_problem: MakeProblem) -> MakeProblem:
    """Makes searches of accuracy against MACs."""

    def make(name: str = "random", **sections: Any) -> Problem:
        optimizer = {"name": name, "objectives": OBJECTIVES}
        return make_problem(**{"budget": LIMITS, "optimizer": optimizer, "training": TWO_RUNGS} | sections)

    return make


def saturating(task: EvaluationTask) -> float:
    """An accuracy that grows with what the student costs, less and less."""
    macs = cost(Architecture.from_dict(json.loads(task.architecture))).macs
    return macs / (macs + 20_000)


def test_each_student_keeps_its_share_of_the_objectives_limit_and_the_whole_of_the_others(
    make_traded: MakeProblem, make_record: Any
):
    problem = make_traded()
    shares = []
    for number in range(12):
        parameters = propose(problem, [], number)
        architecture, its_cost = problem.draw(make_record(number, parameters=parameters).trial, 0)
        shares.append(float(parameters["budget_share"]))
        assert its_cost == cost(architecture)
        assert its_cost.macs <= shares[-1] * LIMITS["macs"]
        assert its_cost.params <= LIMITS["params"]
        limits = problem.budget_of(parameters)
        assert limits.tightest(its_cost) > 0.9  # as wide as they allow
    assert 0.1 <= min(shares) < 0.3 < 0.7 < max(shares) <= 1


def test_a_share_in_which_nothing_fits_is_raised(make_traded: MakeProblem):
    problem = make_traded(budget={"params": 4_000, "macs": 3_000})
    smallest = min(float(propose(problem, [], number)["budget_share"]) for number in range(12))
    assert smallest > 0.1 * 2**0.5


@pytest.mark.parametrize("name", ["random", "tpe", "gp"])
def test_other_samplers_propose_for_two_objectives_too(
    name: str, make_traded: MakeProblem, make_store: MakeStore, pretend: Pretend
):
    options = {} if name == "random" else {"n_startup_trials": 4}
    problem = make_traded(trials=7, optimizer={"name": name, "objectives": OBJECTIVES, "options": options})
    check_choices(problem)
    store = make_store(problem)
    pretend(saturating)
    run(problem, store)
    assert {trial.state for trial in store.trials(1)} <= {"complete", "pruned"}
    assert len({trial.parameters["budget_share"] for trial in store.trials(1)}) > 4  # raised ones may be equal


def test_values_are_the_accuracy_and_the_mean_cost_and_pruned_trials_have_them_too(
    make_traded: MakeProblem, make_store: MakeStore, pretend: Pretend
):
    problem = make_traded(trials=6, students_per_trial=2)
    store = make_store(problem)
    pretend(saturating)
    run(problem, store)
    records = trial_records(store, 1)
    for record in records.values():
        assert record.trial.costs == [np.mean([student.macs for student in record.students])]
        assert record.trial.value == record.best_value
    assert {trial.state for trial in store.trials(1)} == {"complete", "pruned"}
    study = to_study(records.values(), problem.distributions, costs=problem.costs)
    for record, trial in zip(records.values(), study.trials, strict=True):
        assert trial.values == [record.trial.value, *(record.trial.costs or ())]
        assert trial.intermediate_values == {}
    assert study.get_trials(states=[TrialState.PRUNED])


def test_trials_are_pruned_by_the_front_of_metric_and_cost(
    make_traded: MakeProblem, make_store: MakeStore, pretend: Pretend
):
    """Every student is on the front of its rung, so that the most accurate one and the cheapest climb."""
    problem = make_traded(trials=9)
    store = make_store(problem)
    pretend(saturating)
    run(problem, store)
    trials = store.trials(1)
    seen: list[float] = []
    for trial in trials:
        macs = trial.costs[0]
        if len(seen) >= 2 and macs > max(seen):
            assert trial.state == "complete"
        if len(seen) >= 3 and macs < min(seen):
            assert trial.state == "complete"
        seen.append(macs)
    assert {trial.state for trial in trials} == {"complete", "pruned"}


class Stopped(KeyboardInterrupt):
    """Stands for a killed process."""


def test_a_killed_search_goes_on_exactly(make_traded: MakeProblem, make_store: MakeStore, pretend: Pretend):
    options = {"name": "trust-region", "objectives": OBJECTIVES, "options": {"n_startup_trials": 3}}
    problem = make_traded(trials=6, optimizer=options)
    whole, cut = make_store(problem), make_store(problem)
    pretend(saturating)
    run(problem, whole)
    begun: list[str] = []

    def stops(task: EvaluationTask) -> float:
        begun.append(task.key)
        if len(begun) in (2, 5, 9):
            raise Stopped
        return saturating(task)

    pretend(stops)
    for _ in range(4):
        try:
            run(problem, cut)
        except Stopped:
            continue
    assert rows(cut) == rows(whole)


def test_one_objective_is_searched_as_if_there_were_no_others(make_problem: MakeProblem):
    plain = make_problem(budget=LIMITS)
    named = make_problem(budget=LIMITS, optimizer={"name": "random", "objectives": ["accuracy"]})
    assert named.config.digest == plain.config.digest
    assert "objectives" not in named.config.to_dict()["optimizer"]
    assert named.dimensions == plain.dimensions
    assert propose(named, [], 3) == propose(plain, [], 3)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"optimizer": {"objectives": OBJECTIVES, "pruner": "median"}}, "pruner = 'median' compares .* one objective"),
        ({"space": {"name": "nago", "ranges": {"width": 8}}}, "space.ranges fix `width`"),
        ({"optimizer": {"objectives": OBJECTIVES, "name": "optuna.samplers:CmaEsSampler"}}, "proposes no trial"),
    ],
)
def test_what_cannot_trade_objectives_is_refused(make_traded: MakeProblem, sections: Any, message: str):
    with pytest.raises(InputError, match=message) as caught:
        check_choices(make_traded(**sections))
    assert "\n" not in str(caught.value)
