from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation_tasks import TEACHER, digits_task
from killed_evaluations import assert_killed_is_unbroken
from torch import nn

from autokd.evaluation.evaluate import evaluate
from autokd.evaluation.networks import built_student, warm_start
from autokd.evaluation.task import EvaluationTask
from autokd.evaluation.warm_start import WarmStartGoneError, begin_with_teacher, inherit, warm_start_weights
from autokd.searches.asking import Asked
from autokd.teachers.graph import traced_teacher
from autokd.teachers.registry import load_teacher
from autokd.training.checkpoint import save_weights
from autokd.training.metrics import label_metrics, predict
from search_spaces.design.budget import Budget
from search_spaces.design.registry import space


def network(width: int, seed: int) -> nn.Sequential:
    """A convolution, which depends on `width`, its batch norm, and a classifier, which does not."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.Linear(5, 2))
        made[1].running_mean.normal_()
        made[1].num_batches_tracked.fill_(seed)
        return made


def copied(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("share", [0.25, 0.8])
def test_tensors_are_mixed_by_their_share(share: float):
    fresh, old = network(3, 1), network(3, 2)
    before, inherited = copied(fresh), old.state_dict()
    assert inherit(fresh, inherited, share) == 8
    counts = "1.num_batches_tracked"
    for name, tensor in fresh.state_dict().items():
        mixed = before[name] if name == counts else share * inherited[name] + (1 - share) * before[name]
        torch.testing.assert_close(tensor, mixed)


@pytest.mark.parametrize(("share", "seed"), [(0.0, 1), (1.0, 2)])
def test_no_share_leaves_the_fresh_weights_and_a_whole_one_copies_bit_for_bit(share: float, seed: int):
    fresh = network(3, 1)
    inherit(fresh, network(3, 2).state_dict(), share)
    expected = network(3, seed).state_dict()
    assert all(torch.equal(expected[name], value) for name, value in fresh.named_parameters())


def test_what_has_no_counterpart_of_its_shape_stays_fresh():
    fresh, before = network(3, 1), copied(network(3, 1))
    assert inherit(fresh, network(4, 2).state_dict(), 1.0) == 2
    changed = {name for name, tensor in fresh.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"2.weight", "2.bias"}


def test_a_network_of_other_names_gives_nothing():
    fresh = network(3, 1)
    assert inherit(fresh, nn.Sequential(nn.Identity(), nn.Identity(), nn.ReLU()).state_dict(), 1.0) == 0


def test_weights_stay_trainable_in_place():
    fresh = network(3, 1)
    parameters = list(fresh.parameters())
    inherit(fresh, network(3, 2).state_dict(), 0.5)
    assert all(one is other and one.requires_grad for one, other in zip(parameters, fresh.parameters(), strict=True))


@pytest.mark.parametrize("content", [None, b"damaged"])
def test_weights_that_are_gone_or_damaged_are_told(tmp_path: Path, content: bytes | None):
    file = tmp_path / "weights.safetensors"
    save_weights(network(3, 1), file)
    assert len(warm_start_weights(file)) == 9
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(WarmStartGoneError, match=r"weights.safetensors cannot be read: .*must stay until the search"):
        warm_start_weights(file)


@pytest.fixture
def copies(tmp_path: Path) -> EvaluationTask:
    """A slim copy of the teacher of digits that begins with its weights."""
    task = digits_task(tmp_path)
    graph = traced_teacher(load_teacher(TEACHER, torch.device("cpu")), (1, 8, 8), torch.device("cpu")).architecture
    slim = space("like-teacher").with_teacher(graph)
    parameters = slim.complete(slim.start_points()[0])
    architecture = slim.sample(parameters, Budget(params=8_000), (1, 8, 8), 10, np.random.default_rng(0))
    return replace(task, architecture=architecture.to_json(), rung=0, from_teacher=True)


def test_a_slim_copy_begins_with_much_of_what_its_teacher_knows(copies: EvaluationTask):
    dataset, fresh = copies.context.load_data(), built_student(copies, "weights")
    network = built_student(copies, "weights")
    begin_with_teacher(network, copies.context, dataset)
    before, after = (
        label_metrics(predict(each, dataset.validation, dataset.normalisation), dataset.validation.labels)["accuracy"]
        for each in (fresh, network)
    )
    assert before < 0.3
    assert after > 0.6


def test_each_further_copy_of_a_trial_begins_with_weights_of_its_own(copies: EvaluationTask):
    dataset = copies.context.load_data()
    begun = []
    for number in (0, 1, 2, 1):  # with the seeds of a trial's students
        task = replace(copies, replicate=number, seed=number)
        network = built_student(task, "weights")
        warm_start(network, task, dataset)
        begun.append(torch.cat([each.detach().flatten() for each in network.parameters()]))
    assert torch.equal(begun[1], begun[3])
    assert len({weights.sum().item() for weights in begun}) == 3
    assert len({replace(copies, replicate=number).key for number in (0, 1, 2)}) == 3
    assert replace(copies, from_teacher=False).key == replace(copies, from_teacher=False, replicate=1).key


def test_one_that_somebody_else_trains_begins_so_too(copies: EvaluationTask):
    expected = built_student(copies, "weights")
    begin_with_teacher(expected, copies.context, copies.context.load_data())
    begun = Asked(copies, Future(), since=0.0).module().state_dict()
    assert all(torch.equal(begun[name], tensor) for name, tensor in expected.state_dict().items())


def test_its_training_has_a_key_of_its_own_and_is_the_better_one(copies: EvaluationTask):
    fresh = replace(copies, from_teacher=False)
    assert fresh.key != copies.key
    assert evaluate(copies).metrics["accuracy"] > evaluate(fresh).metrics["accuracy"] + 0.2


def test_killed_and_resumed_it_gives_the_same(copies: EvaluationTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert_killed_is_unbroken(replace(copies, rung=1), tmp_path, monkeypatch, 1)
