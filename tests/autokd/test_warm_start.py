"""Warm starts as a whole: evaluations that inherit, and searches that choose from whom."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from inline_searches import rows, run

from autokd.config.parsing import parse_config
from autokd.config.schema import DataConfig, SearchConfig, TeacherConfig, TrainingConfig
from autokd.data.registry import load_data
from autokd.database.lease import acquire
from autokd.database.store import Store
from autokd.evaluation import networks
from autokd.evaluation.context import TrainingContext
from autokd.evaluation.evaluate import evaluate
from autokd.evaluation.task import EvaluationTask
from autokd.evaluation.warm_start import WarmStartGoneError, inherit
from autokd.searches.dispatcher import Dispatcher
from autokd.searches.preflight import find_facts
from autokd.searches.problem import Problem
from autokd.searches.retraining import Retraining
from autokd.teachers.registry import load_teacher
from autokd.training.checkpoint import load_weights
from search_spaces.architecture.format import Architecture, Node
from workers.inline import InlineExecutor

MakeProblem = Callable[..., Problem]
MakeStore = Callable[..., Store]
Pretend = Callable[..., None]

DATA = DataConfig(source="digits", subset=64)
TEACHER = TeacherConfig(factory="autokd.recipes.teachers:digits", weights="autokd.recipes:digits.safetensors")
TRAINING = TrainingConfig(rungs=(1.0, 2.0), batch_size=32, views=1, precision="float32", warm_start=0.6)
NODES = (Node("input", (), 1), Node("conv3x3_bn", (0,), 4, stride=2), Node("classifier", (1,), 10))
SEARCH = {
    "name": "first",
    "trials": 4,
    "data": DATA.model_dump(exclude_none=True),
    "teacher": TEACHER.model_dump(exclude_none=True),
    "budget": {"params": 50_000},
    "space": {"name": "nasbench201", "ranges": {"cells": 1, "width": 4}},  # of one width, stem and reductions match
    "training": TRAINING.model_dump(exclude_none=True),
    "optimizer": {"name": "random", "pruner": "none"},
    "workers": {"engine": "inline", "count": 1},
}


@pytest.fixture
def task(tmp_path: Path) -> EvaluationTask:
    """A small student that begins afresh."""
    digests = load_data(DATA).digest, load_teacher(TEACHER, torch.device("cpu")).digest
    context = TrainingContext(DATA, digests[0], TEACHER, digests[1], TRAINING, 5, tmp_path / "teachers", "cpu")
    text = Architecture((1, 8, 8), 10, NODES).to_json()
    return EvaluationTask(context, text, "kd", (("temperature", 4.0), ("weight", 0.9)), 0, 7, tmp_path / "evaluations")


@pytest.fixture
def heir(task: EvaluationTask) -> EvaluationTask:
    """A student with other first weights that inherits from it."""
    return replace(task, seed=8, warm_from=task.key)


def with_share(task: EvaluationTask, share: float) -> EvaluationTask:
    training = task.context.training.model_copy(update={"warm_start": share})
    return replace(task, context=replace(task.context, training=training))


def test_an_evaluation_inherits_once_its_weights(
    task: EvaluationTask, heir: EvaluationTask, monkeypatch: pytest.MonkeyPatch
):
    evaluate(task)
    seen: list[tuple[dict[str, torch.Tensor], float]] = []
    monkeypatch.setattr(networks, "inherit", lambda *given: seen.append(given[1:]) or inherit(*given))
    evaluate(heir)
    evaluate(replace(heir, rung=1))
    ((tensors, share),) = seen
    expected = load_weights(task.weights)
    assert share == 0.6
    assert all(torch.equal(tensors[name], tensor) for name, tensor in expected.items())


def test_inherited_weights_change_the_training(task: EvaluationTask, heir: EvaluationTask):
    evaluate(task)
    results = [evaluate(heir), evaluate(replace(heir, warm_from=None)), evaluate(with_share(heir, 1.0))]
    assert len({result.metrics["training_loss"] for result in results}) == 3


def test_the_key_tells_source_and_share_where_weights_are_inherited(task: EvaluationTask, heir: EvaluationTask):
    afresh = replace(heir, warm_from=None)
    others = heir, with_share(heir, 0.5), replace(heir, warm_from=f"{task.trajectory}-1"), afresh
    assert len({other.trajectory for other in others}) == 4
    assert {with_share(afresh, share).trajectory for share in (0.0, 0.5, 1.0)} == {afresh.trajectory}


def test_a_source_of_weights_that_is_gone_fails_only_the_start(task: EvaluationTask, heir: EvaluationTask):
    with pytest.raises(WarmStartGoneError, match=r"weights-0\.safetensors cannot be read"):
        evaluate(heir)
    evaluate(task)
    evaluate(heir)
    task.weights.unlink()
    assert evaluate(replace(heir, rung=1)).metrics["accuracy"] > 0


class Stopped(BaseException):
    """Stands for a killed process: nothing catches it."""


class StoppingStore(Store):
    """Stops the process after its n-th write, a batch or one in it."""

    writes = 0
    stop_at = 0

    @contextmanager
    def _writing(self, lease: Any) -> Iterator[Any]:
        self.writes += 1
        stops = self.writes == self.stop_at
        with super()._writing(lease) as inside:
            yield inside
        if stops:
            raise Stopped


def test_students_inherit_from_earlier_trials_as_the_rows_tell(
    make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend
):
    problem = make_problem(training={"warm_start": 0.5}, trials=6)
    store = make_store(problem)
    pretend()
    run(problem, store)
    trial_of = {row.key: row.trial_id for row in store.evaluations(1)}
    heirs = [student for student in store.students(1) if student.warm_from]
    assert len(heirs) > 2
    assert all(trial_of[heir.warm_from] < heir.trial_id for heir in heirs)
    students = {student.id: student for student in store.students(1)}
    trials = {trial.id: trial for trial in store.trials(1)}
    for row in store.evaluations(1):
        assert problem.task(trials[row.trial_id], students[row.student_id], row.rung).key == row.key


@pytest.mark.parametrize("share", [0.0, False])
def test_without_a_share_nobody_inherits(make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend, share):
    problem = make_problem(training={"warm_start": share})
    store = make_store(problem)
    pretend()
    run(problem, store)
    assert {student.warm_from for student in store.students(1)} == {None}


def test_full_length_trainings_begin_afresh(make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend):
    problem = make_problem(training={"warm_start": 0.5}, final={"epochs": 1, "students": 2})
    store = make_store(problem)
    pretend()
    run(problem, store)
    lease = acquire(store, 1)
    dispatcher = Dispatcher(store, lease, InlineExecutor())
    Retraining(store, lease, problem, dispatcher, [store.trials(1)[-1]]).run()
    assert [student.warm_from for student in store.students(1, "final")] == [None, None]


@pytest.mark.slow  # a search for every third write that it makes
def test_a_stopped_search_inherits_the_same_weights(make_problem: MakeProblem, make_store: MakeStore, pretend: Pretend):
    problem = make_problem(training={"warm_start": 0.5, "rungs": [1, 3]}, students_per_trial=2)
    pretend()
    whole = make_store(problem, StoppingStore)
    run(problem, whole)
    assert isinstance(whole, StoppingStore)
    assert sum(student.warm_from is not None for student in whole.students(1)) > 2
    for write in range(2, whole.writes, 3):
        store: Any = make_store(problem, StoppingStore)
        store.stop_at = write
        with pytest.raises(Stopped):
            run(problem, store)
        run(problem, store)
        assert rows(store, "seconds", "epoch_seconds") == rows(whole, "seconds", "epoch_seconds")


@pytest.mark.slow  # two searches that train
def test_a_stopped_search_trains_heirs_bit_for_bit_the_same(make_store: MakeStore, tmp_path: Path):
    config: SearchConfig = parse_config(SEARCH)
    facts = find_facts(config)
    problems = [Problem(config, facts, tmp_path / name) for name in ("whole", "stopped")]
    stores: list[Any] = [make_store(problem, StoppingStore) for problem in problems]
    whole, store = stores
    run(problems[0], whole)
    store.stop_at = 33  # in the third trial
    with pytest.raises(Stopped):
        run(problems[1], store)
    assert len(store.trials(1)) == 3
    run(problems[1], store)
    assert rows(store, "seconds", "epoch_seconds") == rows(whole, "seconds", "epoch_seconds")
    assert [student.warm_from is None for student in store.students(1)] == [True, False, False, False]


def test_a_search_whose_files_are_gone_fails_its_heirs_and_says_why(make_store: MakeStore, tmp_path: Path):
    config = parse_config(SEARCH | {"trials": 1})
    problem = Problem(config, find_facts(config), tmp_path / "home")
    store = make_store(problem)
    run(problem, store)
    for file in problem.evaluations.glob("*/weights-*.safetensors"):
        file.unlink()
    run(replace(problem, config=config.model_copy(update={"trials": 2})), store)
    first, heir = store.trials(1)
    assert (first.state, heir.state) == ("complete", "failed")
    assert (heir.reason or "").startswith("WarmStartGoneError: weights ")
