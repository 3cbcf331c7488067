from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from autokd.config.schema import ReferencesConfig
from autokd.database.lease import acquire, release
from autokd.database.rows import TrialRow
from autokd.database.store import Store
from autokd.errors import DivergedError
from autokd.evaluation.task import EvaluationTask
from autokd.searches.controller import Controller
from autokd.searches.dispatcher import Dispatcher
from autokd.searches.problem import Problem
from autokd.searches.references import (
    NO_TEACHER,
    reference_parameters,
    reference_space,
    reference_title,
    references_to_retrain,
)
from autokd.searches.trial_record import search_records
from search_spaces.architecture.format import Architecture
from search_spaces.design.budget import Budget
from workers.inline import InlineExecutor

MakeProblem = Callable[..., Problem]
MakeStore = Callable[..., Store]
Pretend = Callable[..., None]
CLOCK = datetime(2026, 1, 1, tzinfo=UTC)
THREE = ["resnet", "mobilenetv2", "no-teacher"]
OURS = {"name": "trust-region", "options": {"n_startup_trials": 3}}

pytestmark = pytest.mark.usefixtures("with_references")


def run(problem: Problem, store: Store, lines: list[str] | None = None) -> None:
    """The whole search, or as far as it comes."""
    lease = acquire(store, problem.config.name)
    dispatcher = Dispatcher(store, lease, InlineExecutor(), on_notify=(lines if lines is not None else []).append)
    try:
        Controller(store, lease, problem, dispatcher).run()
    finally:
        release(store, lease)


def build_teacher() -> Architecture:
    """A network of the space `blocks`, far larger than students."""
    space = reference_space(reference_parameters("resnet", None), None)
    return space.sample({}, Budget(params=50_000), (1, 8, 8), 10, np.random.default_rng(0))


def trial_rows(store: Store) -> list[dict[str, Any]]:
    """Everything recorded of the trials but clocks and ids."""
    unlike = {"created_at", "finished_at", "id", "trial_id", "student_id"}
    trials = store.trials(1)
    of_trials = [row for row in store.evaluations(1) if row.trial_id in {trial.id for trial in trials}]
    return [{key: value for key, value in asdict(row).items() if key not in unlike} for row in (*trials, *of_trials)]


def everything(store: Store) -> list[dict[str, Any]]:
    """Everything recorded but clocks."""
    tables = (*store.trials(1), *store.references(1), *store.students(1), *store.evaluations(1))
    clocks = {"created_at", "finished_at"}
    return [{key: value for key, value in asdict(row).items() if key not in clocks} for row in tables]


@pytest.mark.slow  # fits a Gaussian process for each proposal
def test_references_change_no_proposal_and_no_trial(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend
) -> None:
    pretend()
    stores = []
    for names in ("none", THREE):
        problem = make_problem(
            trials=6, optimizer=OURS, training={"rungs": [1, 3]}, references={"names": names}, seconds=1000
        )
        stores.append(make_store(problem))
        run(problem, stores[-1])
    assert [len(store.references(1)) for store in stores] == [0, 3]
    assert trial_rows(stores[0]) == trial_rows(stores[1])


def test_references_climb_all_rungs_the_one_without_teacher_after_the_trials(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend
) -> None:
    problem = make_problem(training={"rungs": [1, 2, 3]}, references={"names": THREE})
    store, trained = make_store(problem), []
    pretend(lambda task: trained.append(task))
    run(problem, store)
    _, references = search_records(store, 1)
    assert [record.trial.reference for record in references] == ["resnet", "mobilenetv2", NO_TEACHER]
    assert [record.trial.number for record in references] == [-1, -2, -3]
    assert [record.trial.finish_order for record in references] == [-1, -2, -3]
    assert all(list(record.values) == [0, 1, 2] for record in references)
    assert [record.trial.opened_after for record in references] == [0, 0, 4]


def test_the_one_without_teacher_trains_the_best_student_from_labels_alone(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend
) -> None:
    from autokd.searches.families import rank_families, winner

    problem, tasks = make_problem(references={"names": ["no-teacher"]}), list[EvaluationTask]()
    store = make_store(problem)
    pretend(lambda task: tasks.append(task))
    run(problem, store)
    trials, (reference,) = search_records(store, 1)
    best = winner(rank_families(problem, trials.values()))
    assert best is not None
    assert reference.trial.parameters["trial"] == best.trial
    assert reference.students[0].architecture == trials[best.trial].students[0].architecture
    assert (tasks[-1].method, dict(tasks[-1].settings)) == ("kd", {"temperature": 1.0, "weight": 0.0})


@pytest.mark.parametrize("name", ["resnet", "mobilenetv2"])
def test_references_are_as_wide_as_the_budget_allows_and_distilled_at_the_defaults(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend, name: str
) -> None:
    problem, tasks = make_problem(budget={"params": 20_000}), list[EvaluationTask]()
    store = make_store(problem)
    pretend(lambda task: tasks.append(task))
    run(problem, store)
    records = {record.trial.reference: record for record in search_records(store, 1)[1]}
    (student,) = records[name].students
    assert 0.9 * 20_000 < student.params <= 20_000
    of_student = [task for task in tasks if Architecture.from_json(task.architecture).digest == student.digest]
    assert {(task.method, task.settings) for task in of_student} == {("kd", (("temperature", 4.0), ("weight", 0.9)))}


def test_a_reference_that_does_not_fit_is_left_out_with_one_line(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend
) -> None:
    problem, lines = make_problem(budget={"params": 2_000}, references={"names": THREE}), list[str]()
    store = make_store(problem)
    pretend()
    run(problem, store, lines)
    failed = [row for row in store.references(1) if row.state == "failed"]
    assert [row.reference for row in failed] == ["mobilenetv2"]
    assert lines == [f"reference mobilenetv2 is left out: {failed[0].reason}"]
    assert str(failed[0].reason).startswith("BudgetError: The smallest network")


def test_a_slim_copy_of_the_teacher_has_its_graph_and_proportions(make_problem: MakeProblem) -> None:
    teacher = build_teacher()
    problem = make_problem(budget={"params": 5_000})
    problem = replace(problem, facts=replace(problem.facts, graph=teacher.to_dict()))
    parameters = reference_parameters("like-teacher", problem.teacher_graph)
    row = TrialRow(1, 1, -1, parameters, "running", None, None, CLOCK, None, None, 0, "like-teacher")
    copy, its_cost = problem.draw(row, 0)
    assert [node.operation for node in copy.nodes] == [node.operation for node in teacher.nodes]
    assert 4_500 < its_cost.params <= 5_000
    assert problem.describe(row).startswith("teacher at 1")


def test_a_teacher_that_cannot_be_copied_is_said_in_one_line(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend
) -> None:
    problem, lines = make_problem(trials=1, references={"names": ["like-teacher"]}), list[str]()
    problem = replace(problem, facts=replace(problem.facts, why_no_graph="the teacher is no torch module"))
    store = make_store(problem)
    pretend()
    run(problem, store, lines)
    assert lines == ["reference like-teacher is left out: SpaceError: the teacher is no torch module"]
    assert problem.describe(store.references(1)[0]) == "a slim copy of the teacher"


def test_a_reference_that_cannot_be_trained_stops_nothing(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend
) -> None:
    def diverge_first(task: EvaluationTask) -> None:
        if not first:
            first.append(task.key)
        if task.key == first[0]:
            raise DivergedError("no")

    problem = make_problem(optimizer={"name": "random", "pruner": "none"}, references={"names": THREE})
    first = list[str]()
    store = make_store(problem)
    pretend(diverge_first)
    run(problem, store)
    assert [row.state for row in store.references(1)] == ["failed", "complete", "complete"]
    assert {trial.state for trial in store.trials(1)} == {"complete"}


def test_a_search_stopped_in_every_evaluation_goes_on_to_the_same_rows_with_references(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend, interrupt_once: Callable[[EvaluationTask], None]
) -> None:
    problem = make_problem(trials=3, training={"rungs": [1, 3]}, references={"names": THREE})
    whole, store = make_store(problem), make_store(problem)

    pretend()
    run(problem, whole)
    pretend(interrupt_once)
    for _ in whole.evaluations(1):
        with pytest.raises(KeyboardInterrupt):
            run(problem, store)
    run(problem, store)
    assert everything(store) == everything(whole)


def test_a_search_that_goes_on_to_another_best_student_trains_that_one_without_teacher(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend
) -> None:
    problem = make_problem(trials=2, references={"names": ["no-teacher"]})
    store, trained = make_store(problem), []
    pretend(lambda task: trained.append(task) or len(trained) / 100)  # the last trial is best
    run(problem, store)
    run(problem, store)
    assert [row.parameters["trial"] for row in store.references(1)] == [1]
    run(make_problem(trials=4, references={"names": ["no-teacher"]}), store)
    assert [row.parameters["trial"] for row in store.references(1)] == [1, 3]
    records, config = search_records(store, 1)[1], ReferencesConfig(final="all")
    assert [record.trial.number for record in references_to_retrain(records, config, best=3)] == [-2]
    assert references_to_retrain(records, config, best=1) == []  # as another student than the winner's


def test_references_are_retrained_by_name_or_as_the_best_at_the_last_rung(make_record: Callable[..., Any]) -> None:
    names = {"resnet": 0.7, "mobilenetv2": 0.8, "no-teacher": 0.9}
    records = []
    for number, (name, accuracy) in enumerate(names.items(), 1):
        record = make_record(-number, [[accuracy]], "complete")
        records.append(replace(record, trial=replace(record.trial, reference=name)))

    def chosen(**config: Any) -> list[str | None]:
        found = references_to_retrain(records, ReferencesConfig(**config), best=0)
        return [record.trial.reference for record in found]

    assert chosen(final=0) == []
    assert chosen(final=1) == ["mobilenetv2"]
    assert chosen(final="all") == ["mobilenetv2", "resnet", "no-teacher"]
    assert chosen(names=["resnet", "no-teacher"], final="all") == ["resnet", "no-teacher"]
    assert chosen(final=["resnet"]) == ["resnet"]
    assert chosen(final=["no-teacher", "like-teacher", "resnet"]) == ["resnet", "no-teacher"]  # one was left out


def test_a_reference_that_trains_another_trials_student_says_so() -> None:
    def row(name: str, **parameters: Any) -> TrialRow:
        return TrialRow(1, 1, -1, parameters, "complete", 0.5, None, CLOCK, CLOCK, 0, 0, name)

    assert reference_title(row(NO_TEACHER, trial=8), 8) == "no-teacher"
    assert reference_title(row(NO_TEACHER, trial=8), 4) == "no-teacher of trial 8"
    assert reference_title(row("resnet", space="blocks"), 4) == "resnet"
