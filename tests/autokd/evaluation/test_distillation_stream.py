from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from autokd.config.schema import AugmentationConfig, DataConfig, TeacherConfig, TrainingConfig
from autokd.data.dataset import Dataset, Split
from autokd.data.registry import load_data
from autokd.distillation import (
    KD,
    METHODS,
    BatchContext,
    Method,
    Outputs,
    Recruits,
    Wrapper,
    kd_loss,
    make_method,
)
from autokd.distillation.base import Mixture, Need
from autokd.evaluation import evaluate as evaluation
from autokd.evaluation.context import TrainingContext
from autokd.evaluation.distillation_stream import DistillationStream, is_live
from autokd.evaluation.evaluate import evaluate
from autokd.evaluation.task import EvaluationTask
from autokd.teachers.outputs import reader as view_reader
from autokd.teachers.registry import load_teacher
from autokd.training.checkpoint import load_weights, save_checkpoint
from autokd.training.loop import TrainingSettings, TrainingState, optimiser
from search_spaces.architecture.format import Architecture, Node
from search_spaces.networks.network import build

CPU = torch.device("cpu")
DATA = DataConfig(source="digits", subset=128)
TEACHER = TeacherConfig(factory="autokd.recipes.teachers:digits", weights="autokd.recipes:digits.safetensors")
TRAINING = TrainingConfig(
    rungs=(1.5, 2.5),
    batch_size=32,
    views=2,
    learning_rate=0.01,
    precision="float32",
    augmentation=AugmentationConfig(shift=1),
)
NODES = (
    Node("input", (), 1),
    Node("conv3x3_bn", (0,), 4),
    Node("relu_conv3x3_bn", (1,), 4, stride=2),
    Node("classifier", (2,), 10),
)
ARCHITECTURE = Architecture((1, 8, 8), 10, NODES)
ALL: frozenset[Need] = frozenset({"embedding", "features"})
WITHOUT_TEACHER = "dml", "bd-kd-online"
STORED = [
    name
    for name, kind in METHODS.items()
    if not issubclass(kind, Wrapper) and kind().n_views == 1 and not kind.chooses_layers and name not in WITHOUT_TEACHER
]
STATEFUL = [
    "crd",
    "clustered-hints",
    "modality",
    "ctkd+kd",
    "sokd+fitnet",
    "fitnet",
    "reviewkd",
    "kd+rkd",
    "early-stopping+standardise+dkd",
]


@pytest.fixture
def context(tmp_path: Path) -> TrainingContext:
    digests = load_data(DATA).digest, load_teacher(TEACHER, CPU).digest
    return TrainingContext(DATA, digests[0], TEACHER, digests[1], TRAINING, 5, tmp_path / "teachers", "cpu", needs=ALL)


@pytest.fixture
def make_task(context: TrainingContext, tmp_path: Path) -> Callable[..., EvaluationTask]:
    """Makes evaluations of a method with its default settings, up to the last rung."""

    def make(method: str, folder: str = "evaluations", rung: int = 1) -> EvaluationTask:
        return EvaluationTask(context, ARCHITECTURE.to_json(), method, (), rung, 7, tmp_path / folder)

    return make


def copied_teacher() -> nn.Module:
    return load_teacher(TEACHER, CPU).requires_grad_()


def taught(context: TrainingContext, method: Method) -> tuple[nn.Module, DistillationStream]:
    network = build(ARCHITECTURE)
    method.recruit(Recruits(partial(build, ARCHITECTURE), copied_teacher, torch.zeros(2, 1, 8, 8)))
    return network, DistillationStream(context, context.load_data(), method, network, 0, 0)


def with_limit(context: TrainingContext, limit: int) -> TrainingContext:
    return replace(context, teacher=TEACHER.model_copy(update={"disk_bytes": limit}))


def n_asked(context: TrainingContext, network: nn.Module, stream: DistillationStream) -> int:
    """How often three batches ask the teacher, once all that can be stored is."""
    batches = list(stream.batches(0, 3))
    loss = stream.loss(TrainingState(network, optimiser(TrainingSettings(), network)), 10)
    teacher = context.load_teacher(0, context.load_data())
    asked: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher, "on_batch", lambda batch, ask=teacher.on_batch: asked.append(1) or ask(batch))
        for batch in batches:
            loss(network(batch.images), batch)
    return len(asked)


def test_the_loss_is_the_methods_of_what_both_networks_say(context: TrainingContext):
    network, stream = taught(context, KD(3.0, 0.4))
    state = TrainingState(network, optimiser(TrainingSettings(), network))
    with closing(stream):
        batch = next(stream.batches(0, 1))
        loss = stream.loss(state, 10)(network(batch.images), batch)
    logits = network(batch.images)
    teacher = load_teacher(TEACHER, CPU)(batch.images).half().float()
    expected = 0.6 * F.cross_entropy(logits, batch.labels) + 0.4 * kd_loss(logits, teacher, 3.0)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize(
    ("method", "live"), [("kd", False), ("rkd", False), ("crd", False), ("fitnet", False), ("clustered-hints", True)]
)
def test_the_teacher_runs_in_training_only_for_what_is_not_stored(context: TrainingContext, method: str, live: bool):
    network, stream = taught(context, make_method(method, {}))
    with closing(stream):
        assert n_asked(context, network, stream) == (3 if live else 0)


@pytest.mark.parametrize(
    ("method", "values", "live"),
    [
        ("kd", 10, False),
        ("kd", 9, True),
        ("crd", 74, False),
        ("crd", 73, True),
        ("fitnet", 10 + 64 + 1792, False),
        ("fitnet", 10 + 64 + 1791, True),
        ("kd", 10 + 64 + 1791, False),
    ],
)
def test_what_the_disk_may_not_hold_comes_from_a_running_teacher(context, method: str, values: int, live: bool):
    context = with_limit(context, 2 * 128 * 2 * values)
    network, stream = taught(context, make_method(method, {}))
    with closing(stream):
        assert n_asked(context, network, stream) == (3 if live else 0)


@pytest.mark.parametrize(("method", "limit"), [("kd", TEACHER.disk_bytes), ("kd", 0), ("clustered-hints", 0)])
def test_student_and_teacher_with_channels_of_their_own_are_as_with_data_of_these_channels(
    context: TrainingContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, limit: int
):
    dataset = context.load_data()
    train, validation, test = (
        Split(torch.cat([split.images, 255 - split.images], -1), split.labels) for split in dataset.splits.values()
    )
    both = Dataset("both", train, validation, test, dataset.class_names)
    teacher = TEACHER.model_copy(update={"channels": (0,), "disk_bytes": limit})
    some = replace(
        context,
        data=DATA.model_copy(update={"student_channels": (0,)}),
        data_digest=both.digest,
        teacher=teacher,
        teacher_digest=load_teacher(teacher, CPU, both).digest,
    )
    tasks = [
        EvaluationTask(each, ARCHITECTURE.to_json(), method, (), 0, 7, tmp_path / "evaluations")
        for each in (with_limit(context, limit), some)
    ]
    expected = evaluate(tasks[0]).metrics
    monkeypatch.setattr(TrainingContext, "load_data", lambda self: both)
    found = evaluate(tasks[1])
    assert found.key != tasks[0].key
    assert found.metrics == pytest.approx(expected, rel=1e-4)


def test_methods_of_several_views_have_a_running_teacher():
    assert is_live(make_method("modality", {}), {"logits", "embedding", "features"})


def test_only_who_chooses_layers_looks_at_the_teacher_for_them(
    context: TrainingContext, monkeypatch: pytest.MonkeyPatch
):
    loaded: list[int] = []
    load = TrainingContext.load_teacher
    monkeypatch.setattr(TrainingContext, "load_teacher", lambda self, *of: loaded.append(of[0]) or load(self, *of))
    for method in ("clustered-hints", "fitnet"):
        loaded.clear()
        taught(context, make_method(method, {}))[1].close()
        before, _ = len(loaded), loaded.clear()
        taught(context, make_method(method, {}))[1].close()
        assert before > 0
        assert bool(loaded) == (method == "clustered-hints")


@pytest.mark.parametrize("resident_bytes", [2**20, 0], ids=["resident", "read ahead"])
@pytest.mark.parametrize("method", STORED)
def test_stored_outputs_teach_as_a_running_teacher_does(context, method: str, resident_bytes: int, monkeypatch):
    """Up to the rounding to float16, whose relative error is at most 2^-11."""
    monkeypatch.setattr(view_reader, "RESIDENT_BYTES", resident_bytes)
    losses: list[Any] = []
    for limited in (context, with_limit(context, 0)):
        network, stream = taught(limited, make_method(method, {}))
        with closing(stream), torch.random.fork_rng():
            loss = stream.loss(TrainingState(network, optimiser(TrainingSettings(), network)), 10)
            losses.append([])
            for batch in stream.batches(0, 3):
                torch.manual_seed(0)
                losses[-1].append(loss(network(batch.images), batch).item())
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)
    assert losses[0] != losses[1]  # two ways they are


@pytest.mark.parametrize("method", ["kd", "fitnet"])
def test_a_training_with_stored_outputs_is_that_with_a_running_teacher(make_task, method: str):
    """Rounding to float16 is all that tells them apart, so they are one trajectory."""
    task = make_task(method)
    live = replace(make_task(method, "live"), context=with_limit(task.context, 0))
    assert task.key == live.key
    ours, theirs = evaluate(task).metrics, evaluate(live).metrics
    assert ours["training_loss"] == pytest.approx(theirs["training_loss"], rel=5e-3)
    pairs = [load_weights(evaluated.weights) for evaluated in (task, live)]
    for name, tensor in pairs[0].items():
        torch.testing.assert_close(tensor, pairs[1][name], rtol=0.02, atol=5e-3)


def test_a_mixed_sample_is_taught_both_its_labels(context: TrainingContext):
    network, stream = taught(context, KD(1.0, 0.0))
    with closing(stream):
        batch = next(stream.batches(0, 1))
        mixture = Mixture(batch.labels.flip(0), torch.full((len(batch.labels),), 0.75))
        logits = network(batch.images)
        state = TrainingState(network, optimiser(TrainingSettings(), network))
        loss = stream.loss(state, 10)(logits, replace(batch, mixture=mixture))
    both = [F.cross_entropy(logits, labels) for labels in (batch.labels, mixture.labels)]
    torch.testing.assert_close(loss, 0.75 * both[0] + 0.25 * both[1])


def test_a_stored_embedding_is_the_live_one(context: TrainingContext):
    class Recording(KD):
        needs = frozenset({"embedding"})

        def loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> torch.Tensor:
            seen.append(teacher)
            return super().loss(student, teacher, context)

    seen: list[Outputs] = []
    network, stream = taught(context, Recording())
    with closing(stream):
        batch = next(stream.batches(0, 1))
        stream.loss(TrainingState(network, optimiser(TrainingSettings(), network)), 10)(network(batch.images), batch)
    teacher = load_teacher(TEACHER, CPU).network
    features = teacher.blocks(F.relu(teacher.stem(batch.images)))
    torch.testing.assert_close(seen[0].embedding, features.mean((2, 3)), rtol=1e-3, atol=1e-3)


def test_a_loss_is_told_how_far_the_training_is(context: TrainingContext):
    class Recording(KD):
        def label_weight(self, context: BatchContext) -> float:
            seen.append((context.epoch, context.progress))
            return 1.0

    seen: list[tuple[float, float]] = []
    network, stream = taught(context, Recording())
    state = TrainingState(network, optimiser(TrainingSettings(), network), step=6)
    with closing(stream):
        batch = next(stream.batches(6, 7))
        stream.loss(state, 10)(network(batch.images), batch)
    assert seen == [(1.5, 0.6)]


def test_preparing_leaves_the_student_alone(context: TrainingContext):
    network, stream = taught(context, make_method("fitnet", {}))
    stream.close()
    fresh = build(ARCHITECTURE).state_dict()
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in network.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize("method", STATEFUL)
def test_rung_after_rung_is_the_last_rung_alone(make_task: Callable[..., EvaluationTask], method: str):
    evaluate(make_task(method, rung=0))
    climbed, alone = make_task(method), make_task(method, "elsewhere")
    assert evaluate(climbed).metrics == evaluate(alone).metrics
    ours, theirs = load_weights(climbed.weights), load_weights(alone.weights)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


@pytest.mark.parametrize("method", ["crd", "ctkd+kd"])
def test_killed_after_any_checkpoint_a_method_goes_on_to_the_same_result(make_task, method: str, monkeypatch):
    class Stopped(BaseException):
        pass

    save = save_checkpoint

    def save_and_stop(state: TrainingState, path: Path) -> None:
        save(state, path)
        raise Stopped

    expected = evaluate(make_task(method, "unbroken")).metrics
    task = make_task(method)
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "save_checkpoint", save_and_stop)
        for _ in range(2):
            with pytest.raises(Stopped):
                evaluate(task)
    assert evaluate(task).metrics == expected


def test_checkpoints_teach_one_after_another(context: TrainingContext, tmp_path: Path):
    weights = load_teacher(TEACHER, CPU).network.state_dict()
    files = []
    for number, factor in enumerate((0.0, 1.0)):
        scaled = {name: factor * tensor if "classifier" in name else tensor for name, tensor in weights.items()}
        files.append(str(tmp_path / f"epoch-{number}.pth"))
        torch.save(scaled, files[-1])
    teacher = TEACHER.model_copy(update={"checkpoints": tuple(files)})
    digests = tuple(load_teacher(teacher.numbered(number), CPU).digest for number in (1, 2))
    context = replace(context, teacher=teacher, further_digests=digests)
    network = build(ARCHITECTURE)
    stream = DistillationStream(context, context.load_data(), KD(1.0, 1.0), network, 1, 0)
    state = TrainingState(network, optimiser(TrainingSettings(), network))
    means = []
    with closing(stream), torch.no_grad():
        for step in (0, 8):  # epochs 0 and 2 of 3: the first teacher knows nothing
            state.step = step
            batch = next(stream.batches(step, step + 1))
            uniform = torch.zeros(32, 10)
            stream.loss(state, 12)(network(batch.images), batch)
            means.append(float(kd_loss(uniform, stream._teacher_outputs(batch, step // 4).logits, 1.0)))
    assert means[0] == pytest.approx(0, abs=1e-6)
    assert means[1] > 1
