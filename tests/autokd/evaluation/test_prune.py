from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_models import collection
from torch import Tensor, nn

from autokd.config.schema import DataConfig, TeacherConfig, TrainingConfig
from autokd.data.registry import load_data
from autokd.errors import InputError
from autokd.evaluation import prune
from autokd.evaluation.context import TrainingContext
from autokd.evaluation.precompute import missing_outputs, precompute_outputs
from autokd.evaluation.prune import prune_round
from autokd.teachers.outputs.key import OutputsKey
from autokd.teachers.pruned import PrunedTeachers
from autokd.teachers.registry import load_teacher
from autokd.training.checkpoint import load_weights, save_checkpoint, save_weights
from autokd.training.loop import TrainingState

DATA = DataConfig(source="digits", subset=100)  # of which an epoch has three batches of 32
TEACHER = TeacherConfig(
    factory="autokd.recipes.teachers:digits",
    weights="autokd.recipes:digits.safetensors",
    pruning={"shares": (0.2, 0.36), "epochs": 2},  # type: ignore[arg-type]
)
TRAINING = TrainingConfig(rungs=(1.0,), batch_size=32, views=1, precision="float32", learning_rate=0.01)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digests() -> tuple[str, str]:
    return load_data(DATA).digest, load_teacher(TEACHER.numbered(0), CPU).digest


def made(digests: tuple[str, str], folder: Path, **changes: Any) -> TrainingContext:
    data, teacher = digests
    training = TRAINING.model_copy(update=changes)
    pruned = PrunedTeachers(TEACHER.numbered(0), teacher, data, training, 2, 7, folder, wanted=(1, 2))
    return TrainingContext(DATA, data, TEACHER, teacher, TRAINING, 5, folder, "cpu", pruned=pruned)


def weights(context: TrainingContext, rounds: int) -> dict[str, torch.Tensor]:
    assert context.pruned is not None
    return load_weights(context.pruned.weights(rounds))


def share_of_zeros(state: dict[str, torch.Tensor]) -> float:
    """Of the weights of convolutions and linear layers, which have more than one dimension."""
    tensors = [tensor for tensor in state.values() if tensor.ndim > 1]
    return 1 - sum(int(tensor.count_nonzero()) for tensor in tensors) / sum(tensor.numel() for tensor in tensors)


@pytest.mark.parametrize("changes", [{}, {"ema": 0.5, "optimizer": "adamw", "learning_rate": 0.001}])
def test_each_round_prunes_a_fifth_and_an_interruption_changes_nothing(
    digests: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    whole, stopped = made(digests, tmp_path / "whole", **changes), made(digests, tmp_path / "stopped", **changes)
    assert whole.pruned
    assert stopped.pruned
    for rounds in whole.pruned.missing:
        prune_round(whole, rounds)
    _run_with_interruptions(stopped, monkeypatch)
    for rounds, share in ((1, 0.2), (2, 0.36)):
        one, other = weights(whole, rounds), weights(stopped, rounds)
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
        assert share_of_zeros(one) == pytest.approx(share, abs=1e-4)
        results = [{**context.pruned.result(rounds), "seconds": 0.0} for context in (whole, stopped) if context.pruned]
        assert results[0] == results[1]
        assert results[0]["images"] == 2 * 3 * 32
    assert [file.name for file in stopped.pruned.folder.glob("*checkpoint*")] == []


def _run_with_interruptions(context: TrainingContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prune, with a kill behind each checkpoint, the first of which is damaged."""
    assert context.pruned
    saved = count()

    def saved_and_killed(state: Any, path: Path) -> None:
        save_checkpoint(state, path)
        if next(saved) == 0:
            path.write_bytes(path.read_bytes()[:-100])
        raise KeyboardInterrupt

    for rounds in context.pruned.missing:
        for _ in range(10):
            with monkeypatch.context() as patch:
                patch.setattr(prune, "save_checkpoint", saved_and_killed)
                try:
                    prune_round(context, rounds)
                except KeyboardInterrupt:
                    continue
            break
    assert not context.pruned.missing


def test_pruned_teachers_are_loaded_asked_and_checked_like_the_others(digests: tuple[str, str], tmp_path: Path) -> None:
    context = made(digests, tmp_path)
    assert context.pruned
    with pytest.raises(InputError, match=r"the pruned teacher .*round-01.safetensors is gone: resume the search"):
        context.load_teacher(1, context.load_data())
    for rounds in (1, 2):
        prune_round(context, rounds)
    dataset = context.load_data()
    assert context.n_teachers == 3
    assert TEACHER.teacher_schedules == {"digits.safetensors": (0,), "pruned-20": (1,), "pruned-36": (2,)}
    assert len({context.digest(number) for number in range(3)}) == 3
    teacher = context.load_teacher(2, dataset)
    assert teacher.network is not None
    assert share_of_zeros(teacher.network.state_dict()) == pytest.approx(0.36, abs=1e-4)
    key = OutputsKey(2, part="validation")
    precompute_outputs(context, key)
    assert key not in missing_outputs(context)
    assert context.pruned.result(2)["accuracy"] > 0.5
    context.pruned.write_result(2, **(context.pruned.result(2) | {"digest": "0"}))
    with pytest.raises(InputError, match="changed since the search began"):
        context.load_teacher(2, dataset)


def test_the_widths_are_those_of_the_remaining_weights_by_the_nodes_of_the_graph(
    digests: tuple[str, str], tmp_path: Path
) -> None:
    context = made(digests, tmp_path)
    prune_round(context, 1)
    assert context.pruned
    found, state = context.pruned.result(1)["widths"], weights(context, 1)
    stem = round(int(state["stem.0.weight"].count_nonzero()) / 9)
    assert found["stem_0"] == stem
    assert found["blocks_0_first_0"] == round(int(state["blocks.0.first.0.weight"].count_nonzero()) / (9 * stem))
    assert found["classifier"] == 10


def test_a_round_whose_weights_are_gone_is_missing_and_all_behind_it(digests: tuple[str, str], tmp_path: Path) -> None:
    files = made(digests, tmp_path).pruned
    assert files
    for rounds in (1, 2):
        files.write_result(rounds, seconds=1.0)
        files.weights(rounds).touch()
    assert (list(files.missing), len(files.results)) == ([], 2)
    files.weights(1).unlink()
    assert (list(files.missing), files.results) == ([1, 2], [])


def test_what_decides_the_training_decides_the_digest(digests: tuple[str, str], tmp_path: Path) -> None:
    first = made(digests, tmp_path).pruned
    assert first
    others = [
        made(digests, tmp_path, learning_rate=0.02).pruned,
        replace(first, epochs=3),
        replace(first, seed=8),
        replace(first, teacher_digest="other"),
    ]
    assert len({each.digest(2) for each in [first, *others] if each}) == 5
    same = replace(first, training=TRAINING.model_copy(update={"rungs": (9.0,), "views": 3}), wanted=(2,))
    assert same.digest(2) == first.digest(2)


def test_another_teacher_than_the_recorded_one_is_not_pruned(digests: tuple[str, str], tmp_path: Path) -> None:
    context = made((digests[0], "other"), tmp_path)
    with pytest.raises(InputError, match="changed since the search began"):
        prune_round(context, 1)


def vectors() -> nn.Module:
    """A teacher with a softmax, which no student has."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.LogSoftmax(1))


def test_a_teacher_without_a_graph_is_pruned_but_gives_no_widths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digests: tuple[str, str]
) -> None:
    monkeypatch.setattr("autokd.recipes.teachers.digits", _seeded(vectors))
    teacher = TeacherConfig(factory="autokd.recipes.teachers:digits")
    digest = load_teacher(teacher, CPU).digest
    files = PrunedTeachers(teacher, digest, digests[0], TRAINING, 1, 7, tmp_path, wanted=(1,))
    context = TrainingContext(DATA, digests[0], teacher, digest, TRAINING, 5, tmp_path, "cpu", pruned=files)
    prune_round(context, 1)
    assert files.result(1)["widths"] == {}


def _seeded(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    def seeded() -> nn.Module:
        torch.manual_seed(0)
        return make()

    return seeded


def test_a_teacher_of_a_collection_is_trained_on_what_it_is_asked_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = collection("timm").create_model("test_resnet", num_classes=10, in_chans=1)
    save_weights(network, tmp_path / "teacher.safetensors")
    config = TeacherConfig(
        factory="timm:test_resnet",
        arguments={"num_classes": 10, "in_chans": 1},
        weights=str(tmp_path / "teacher.safetensors"),
        resize=(16, 16),
        pruning={"shares": (0.2,), "epochs": 1},  # type: ignore[arg-type]
    )
    dataset, teacher = load_data(DATA), load_teacher(config, CPU, load_data(DATA))
    assert teacher.network is not None
    seen: list[Tensor] = []

    def look(state: TrainingState, *_: object) -> None:
        stem = next(each for each in state.network.modules() if isinstance(each, nn.Conv2d))
        with torch.no_grad(), stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
            state.network(torch.zeros(1, *dataset.input_shape))

    monkeypatch.setattr("autokd.evaluation.prune.fit", look)
    pruned = PrunedTeachers(config, teacher.digest, dataset.digest, TRAINING, 1, 7, tmp_path, wanted=(1,))
    prune_round(
        TrainingContext(DATA, dataset.digest, config, teacher.digest, TRAINING, 5, tmp_path, "cpu", pruned=pruned), 1
    )
    assert torch.equal(seen[0], teacher.prepared(torch.zeros(1, *dataset.input_shape)))
    assert seen[0].shape == (1, 1, 16, 16)
