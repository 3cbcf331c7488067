"""Networks that learn beside the student."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_tasks import ARCHITECTURE, DATA, TEACHER, digits_task, with_training
from killed_evaluations import assert_killed_is_unbroken, weights_of

from autokd.core.seeds import derive
from autokd.data.dataset import Dataset, Split
from autokd.data.registry import load_data
from autokd.distillation import make_method
from autokd.evaluation import evaluate as evaluation
from autokd.evaluation.context import TrainingContext
from autokd.evaluation.evaluate import evaluate
from autokd.evaluation.task import EvaluationTask
from autokd.teachers.registry import Teacher, load_teacher
from autokd.training.checkpoint import load_weights
from autokd.training.metrics import label_metrics, predict
from search_spaces.networks.network import build

CPU = torch.device("cpu")


@pytest.fixture
def task(tmp_path: Path) -> EvaluationTask:
    """The middle rung, which ends within an epoch."""
    return digits_task(tmp_path)


@pytest.fixture
def mutual(task: EvaluationTask) -> EvaluationTask:
    """The last rung, of 12 steps, with two companions."""
    return replace(task, rung=2, method="kd+dml", settings=(("dml.peers", 2),))


@pytest.mark.slow  # trains three networks
@pytest.mark.parametrize("n", [1, 3])
def test_a_training_with_companions_goes_on_where_it_was_killed(
    mutual: EvaluationTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int
):
    assert_killed_is_unbroken(mutual, tmp_path, monkeypatch, n)


COPYING: dict[str, tuple[tuple[str, Any], ...]] = {
    "sokd": (("bridge", "random"), ("companion_rate", 0.5), ("trunk_norm", "drifting")),
    "bd-kd-online": (("companion_rate", 0.5),),
}


@pytest.fixture(params=COPYING)
def copying(request: pytest.FixtureRequest, task: EvaluationTask) -> EvaluationTask:
    """The last rung, of 12 steps, with a copy of the teacher that learns."""
    task = replace(task, rung=2, method=request.param, settings=COPYING[request.param])
    return with_training(task, ema=0.9, width_scaling=True)


@pytest.mark.slow  # trains the teacher, too
def test_a_training_with_a_copy_of_the_teacher_goes_on_where_it_was_killed(
    copying: EvaluationTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert_killed_is_unbroken(copying, tmp_path, monkeypatch, 2)


@pytest.mark.slow  # trains the teacher, too
def test_a_copy_of_the_teacher_learns_and_is_measured_and_the_teacher_stays_as_it_is(
    copying: EvaluationTask, monkeypatch: pytest.MonkeyPatch
):
    method = make_method(copying.method, dict(copying.settings))
    monkeypatch.setattr(evaluation, "make_method", lambda name, settings: method)
    metrics = evaluate(copying).metrics
    (companion,), data = method.companions, load_data(DATA)
    assert metrics["companion0_accuracy"] == pytest.approx(accuracy_of(companion, data))
    teacher = copying.context.load_teacher(0, data)
    assert teacher.digest == load_teacher(TEACHER, CPU).digest
    states = {
        name: network.state_dict()["_network.classifier.weight"]
        for name, network in (("teacher", teacher), ("before", load_teacher(TEACHER, CPU)))
    }
    assert torch.equal(states["teacher"], states["before"])
    assert not torch.equal(companion.state_dict()["network._network.classifier.weight"], states["before"])


@pytest.mark.slow  # trains the teacher, too
@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_a_trained_companion_that_does_not_learn_teaches_as_the_teacher(
    task: EvaluationTask, tmp_path: Path, optimizer: str
):
    """By `bd-kd`, with the teacher's outputs as they are, not rounded as in the store."""
    task = with_training(task, optimizer=optimizer, learning_rate=0.01, gradient_clip=1.0)
    settings = (("companion_rate", 0.0), ("start", "trained"))
    online = replace(task, method="bd-kd-online", settings=settings)
    live = replace(task.context, teacher=TEACHER.model_copy(update={"disk_bytes": 0}))
    offline = replace(task, method="bd-kd", settings=(), context=live, folder=tmp_path / "offline")
    found, expected = evaluate(online).metrics, evaluate(offline).metrics
    assert weights_of(online) == weights_of(offline)
    assert found["companion0_accuracy"] == accuracy_of(load_teacher(TEACHER, CPU), load_data(DATA))
    assert found["accuracy"] == expected["accuracy"]


@pytest.mark.slow  # trains the teacher, too
def test_companions_get_the_channels_that_are_theirs(task: EvaluationTask, monkeypatch: pytest.MonkeyPatch):
    """The student and those like it some, copies of the teacher all."""
    data, seen = load_data(DATA), list[tuple[int, ...]]()
    train, validation, test = map(with_two_channels, data.splits.values())
    both = Dataset("both", train, validation, test, data.class_names)
    teacher = TEACHER.model_copy(update={"channels": (0,), "floor": None})
    digests = both.digest, load_teacher(teacher, CPU, both).digest
    context = replace(task.context, data=DATA.model_copy(update={"student_channels": (1,)}))
    context = replace(context, teacher=teacher, data_digest=digests[0], teacher_digest=digests[1])
    monkeypatch.setattr(TrainingContext, "load_data", lambda self: both)
    forward = Teacher.forward
    monkeypatch.setattr(Teacher, "forward", lambda self, x: (seen.append(tuple(x.shape[1:])), forward(self, x))[1])
    metrics = evaluate(replace(task, context=context, method="dml+sokd", settings=())).metrics
    assert set(seen) == {(2, 8, 8)}
    assert {"companion0_accuracy", "companion1_accuracy"} < metrics.keys()


def with_two_channels(split: Split) -> Split:
    return Split(torch.cat([split.images, 255 - split.images], -1), split.labels)


def accuracy_of(network: torch.nn.Module, data: Dataset) -> float:
    logits = predict(network, data.validation, data.normalisation)
    return label_metrics(logits, data.validation.labels)["accuracy"]


@pytest.mark.slow  # trains three networks
def test_companions_are_networks_of_their_own_that_learn_and_are_measured(
    mutual: EvaluationTask, monkeypatch: pytest.MonkeyPatch
):
    method = make_method(mutual.method, dict(mutual.settings))
    monkeypatch.setattr(evaluation, "make_method", lambda name, settings: method)
    metrics = evaluate(mutual).metrics
    first, second = method.companions
    untrained = build(ARCHITECTURE, seed=derive(mutual.seed, "companion", 0))
    student = load_weights(mutual.weights)
    for name, weight in first.state_dict().items():
        if weight.ndim > 1:
            assert not torch.equal(weight, untrained.state_dict()[name])
            assert not torch.equal(weight, second.state_dict()[name])
            assert not torch.equal(weight, student[name])
    assert metrics["companion1_accuracy"] == accuracy_of(second, load_data(DATA))
