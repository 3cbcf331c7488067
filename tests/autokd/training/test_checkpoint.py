import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from autokd.data.stream import TrainingStream
from autokd.errors import InputError
from autokd.training.best_checkpoint import Score
from autokd.training.checkpoint import (
    epochs_done,
    furthest,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
    undamaged_checkpoint,
)
from autokd.training.loop import TrainingSettings, TrainingState, fresh_state, train
from autokd.training.schedules import Cosine
from autokd.training.selection import keep_if_best

Fresh = Callable[[TrainingSettings], TrainingState]
SETTINGS = TrainingSettings()


@pytest.fixture
def trained(stream: TrainingStream, fresh: Fresh) -> TrainingState:
    state = fresh(SETTINGS)
    train(state, stream, lambda logits, batch: F.cross_entropy(logits, batch.labels), SETTINGS, 10, Cosine(10), 0)
    return state


@pytest.fixture
def path(trained: TrainingState, tmp_path: Path) -> Path:
    save_checkpoint(trained, tmp_path / "checkpoint.safetensors")
    return tmp_path / "checkpoint.safetensors"


def test_the_state_is_restored_bit_for_bit(trained: TrainingState, path: Path, fresh: Fresh) -> None:
    state = fresh(SETTINGS)
    load_checkpoint(state, path)
    assert (state.step, state.losses) == (trained.step, trained.losses)
    for name, tensor in trained.network.state_dict().items():
        assert torch.equal(state.network.state_dict()[name], tensor)
    for ours, theirs in zip(state.network.parameters(), trained.network.parameters(), strict=True):
        found, expected = (s.optimiser.state[p]["momentum_buffer"] for s, p in ((state, ours), (trained, theirs)))
        assert torch.equal(found, expected)


def test_layers_that_share_a_weight_are_saved_and_share_it_again(tmp_path: Path) -> None:
    states = [fresh_state(SETTINGS, nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))) for _ in range(2)]
    for state in states:
        state.network[1].weight = state.network[0].weight
    save_checkpoint(states[0], tmp_path / "checkpoint")
    load_checkpoint(states[1], tmp_path / "checkpoint")
    assert torch.equal(states[1].network[1].weight, states[0].network[1].weight)
    assert states[1].network[1].weight is states[1].network[0].weight
    save_weights(states[0].network, tmp_path / "weights")
    assert torch.equal(load_weights(tmp_path / "weights")["1.weight"], states[0].network[0].weight)


@pytest.mark.parametrize(
    ("optimizer", "key"), [("sgd", "momentum_buffer"), ("muon", "momentum_buffer"), ("adamw", "exp_avg_sq")]
)
def test_the_memory_format_is_kept(stream: TrainingStream, fresh: Fresh, tmp_path: Path, optimizer, key: str) -> None:
    settings = TrainingSettings(optimizer=optimizer)
    trained, state = fresh(settings), fresh(settings)
    train(trained, stream, lambda logits, batch: logits.square().sum(), settings, 1, Cosine(10), 0)
    save_checkpoint(trained, tmp_path / "checkpoint")
    kernel = state.network[1].weight
    strides = kernel.stride()
    load_checkpoint(state, tmp_path / "checkpoint")
    assert kernel.stride() == state.optimiser.state[kernel][key].stride() == strides


def test_average_and_best_weights_are_restored(fresh: Fresh, tmp_path: Path) -> None:
    settings = TrainingSettings(ema=0.5)
    before, after = fresh(settings), fresh(settings)
    before.average.update(3)
    before.average.tensors["6.bias"] += 1 / 3
    best = {name: tensor.clone() for name, tensor in before.network.state_dict().items()}
    keep_if_best(before, Score(0.1, 1 / 3, 2.0))
    before.network[6].bias.data += 1  # the last weights are others
    save_checkpoint(before, tmp_path / "checkpoint")
    load_checkpoint(after, tmp_path / "checkpoint")
    assert after.best == before.best
    assert after.best_weights.keys() == best.keys()
    assert all(torch.equal(after.best_weights[name], tensor) for name, tensor in best.items())
    assert all(torch.equal(tensor, before.average.tensors[name]) for name, tensor in after.average.tensors.items())


def test_a_state_before_the_first_step_can_be_saved(fresh: Fresh, tmp_path: Path) -> None:
    before, after = fresh(SETTINGS), fresh(SETTINGS)
    save_checkpoint(before, tmp_path / "start")
    load_checkpoint(after, tmp_path / "start")
    assert (after.step, after.losses) == (0, [])
    assert not any(bool(each["momentum_buffer"].any()) for each in after.optimiser.state.values())


def test_weights_are_the_networks_state_dict(trained: TrainingState, tmp_path: Path) -> None:
    save_weights(trained.network, tmp_path / "weights")
    weights, expected = load_weights(tmp_path / "weights"), trained.network.state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_weights_of_which_a_byte_has_changed_are_refused_and_earlier_versions_have_no_digest(
    trained: TrainingState, tmp_path: Path
) -> None:
    path = tmp_path / "weights"
    save_weights(trained.network, path)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match=r"weights .* cannot be read: some of its bytes have changed"):
        load_weights(path)
    save_file(load_file(path), path)
    assert load_weights(path).keys() == trained.network.state_dict().keys()


def steps(path: Path) -> int | None:
    checkpoint = undamaged_checkpoint(path)
    return None if checkpoint is None else checkpoint.step


def test_no_epochs_are_done_without_a_checkpoint_of_this_format(path: Path, tmp_path: Path) -> None:
    assert (epochs_done(path), steps(path)) == (2.0, 10)
    assert (epochs_done(tmp_path / "nowhere"), steps(tmp_path / "nowhere")) == (0, None)
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign")
    assert epochs_done(tmp_path / "foreign") == 0


def test_how_far_a_training_is_comes_with_its_speed_and_its_moment(
    trained: TrainingState, path: Path, tmp_path: Path
) -> None:
    os.utime(path, (3, 3))
    reached = furthest(tmp_path / "nowhere", path)
    assert reached is not None
    assert trained.steps_per_second is not None
    assert (reached.epochs, reached.at) == (2.0, datetime.fromtimestamp(3, UTC))
    assert reached.epochs_per_second == pytest.approx(trained.steps_per_second / 5)  # steps of an epoch


def test_the_furthest_checkpoint_counts_and_earlier_ones_tell_no_speed(path: Path, tmp_path: Path) -> None:
    old = {"progress": json.dumps({"format": 3, "step": 15, "epochs": 3.0})}
    save_file({"x": torch.zeros(1)}, tmp_path / "old", old)
    reached = furthest(path, tmp_path / "old", path)
    assert reached is not None
    assert (reached.epochs, reached.epochs_per_second) == (3.0, None)


def test_a_checkpoint_of_the_first_format_is_ignored_and_cannot_be_loaded(fresh: Fresh, tmp_path: Path) -> None:
    old = {"progress": json.dumps({"step": 5, "losses": [1.0]})}
    save_file({f"network.{name}": x for name, x in fresh(SETTINGS).network.state_dict().items()}, tmp_path / "old", old)
    assert (epochs_done(tmp_path / "old"), steps(tmp_path / "old")) == (0, None)
    with pytest.raises(InputError, match="old is of another version: delete it to train again from the start"):
        load_checkpoint(fresh(SETTINGS), tmp_path / "old")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:100],
        lambda content: b"",
        lambda content: b"x" * 1000,
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),  # one bit of a weight
    ],
)
def test_a_damaged_file_cannot_be_read(
    path: Path, fresh: Fresh, damage: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"^checkpoint .*checkpoint.safetensors cannot be read: "):
        load_checkpoint(fresh(SETTINGS), path)
    assert undamaged_checkpoint(path) is None
    assert capsys.readouterr().out.endswith("It is left out.\n")


def test_a_checkpoint_that_is_removed_while_it_is_opened_tells_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*arguments: object, **options: object) -> None:
        raise RuntimeError("unable to open file in read-only mode: No such file or directory (2)")  # as torch says

    monkeypatch.setattr("autokd.training.checkpoint.safe_open", opened)
    assert epochs_done(path) == 0


def test_a_missing_or_foreign_file_cannot_be_read(tmp_path: Path, fresh: Fresh) -> None:
    with pytest.raises(InputError, match="nowhere cannot be read"):
        load_weights(tmp_path / "nowhere")
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign")
    with pytest.raises(InputError, match="foreign cannot be read"):
        load_checkpoint(fresh(SETTINGS), tmp_path / "foreign")


def test_a_checkpoint_of_another_network_is_rejected(path: Path) -> None:
    network = nn.Linear(2, 2)
    with pytest.raises(InputError, match="is of another network: delete it to train again from the start"):
        load_checkpoint(fresh_state(SETTINGS, network), path)
