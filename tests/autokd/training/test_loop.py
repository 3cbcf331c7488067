import copy
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autokd.config.schema import OptimizerName
from autokd.data.augmentation import Augmentation
from autokd.data.stream import Batch, TrainingStream
from autokd.errors import DivergedError
from autokd.training.checkpoint import load_checkpoint, save_checkpoint
from autokd.training.loop import TrainingSettings, TrainingState, fresh_state, optimiser, train
from autokd.training.metrics import label_metrics, predict
from autokd.training.schedules import Cosine, Schedule, cosine

Fresh = Callable[[TrainingSettings], TrainingState]
TOTAL = 15
SCHEDULE = Cosine(TOTAL)
STOPS = (2, 8)
ENDS = (2, 5, 8, 10, 15)  # stops, and the ends of epochs of 5 steps


def cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    return F.cross_entropy(logits, batch.labels)


def run(
    state: TrainingState,
    stream: TrainingStream,
    settings: TrainingSettings,
    until: int = TOTAL,
    schedule: Schedule = SCHEDULE,
    **options,
) -> None:
    train(state, stream, cross_entropy, settings, until, schedule, seed=9, stops=STOPS, **options)


def assert_same(found: TrainingState, expected: TrainingState) -> None:
    """Assert that two states are bit-identical."""
    assert (found.step, found.losses, found.entropies) == (expected.step, expected.losses, expected.entropies)
    theirs = expected.network.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in found.network.state_dict().items())
    assert found.network.state_dict().keys() == theirs.keys()
    averages = [{} if state.average is None else state.average.tensors for state in (found, expected)]
    assert all(torch.equal(tensor, averages[1][name]) for name, tensor in averages[0].items())


def trained_by_hand(network: nn.Module, stream: TrainingStream, settings: TrainingSettings) -> list[Tensor]:
    """Nesterov momentum (Sutskever et al. 2013) in PyTorch's form; without segments, so without dropout."""
    parameters = list(network.parameters())
    momenta: list[Tensor | None] = [None for _ in parameters]
    network.train()
    for step in range(TOTAL):
        (batch,) = stream.batches(step, step + 1)
        gradients = torch.autograd.grad(F.cross_entropy(network(batch.images), batch.labels), parameters)
        rate = settings.learning_rate * cosine((step + 1) / TOTAL, 0.2)
        with torch.no_grad():
            for k, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
                decayed = gradient + (settings.weight_decay * parameter if parameter.ndim > 1 else 0)
                before = momenta[k]
                momenta[k] = decayed.clone() if before is None else settings.momentum * before + decayed
                parameter -= rate * (decayed + settings.momentum * momenta[k])  # type: ignore[misc]
    return [parameter.detach() for parameter in parameters]


def test_a_group_norm_learns_behind_frozen_layers(stream: TrainingStream) -> None:
    norm = nn.GroupNorm(2, 4)
    network = nn.Sequential(nn.Conv2d(1, 4, 3).requires_grad_(False), norm, nn.Flatten(), nn.Linear(64, 3))
    settings = TrainingSettings()
    run(fresh_state(settings, network.to(memory_format=torch.channels_last)), stream, settings)
    assert not torch.equal(norm.weight, torch.ones(4))


def test_training_equals_a_loop_by_hand(stream: TrainingStream, fresh: Fresh) -> None:
    settings = TrainingSettings(weight_decay=0.1)
    state = fresh(settings)
    for part in state.network:  # type: ignore[attr-defined]
        if isinstance(part, nn.Dropout):
            part.p = 0
    by_hand = trained_by_hand(copy.deepcopy(state.network), stream, settings)
    run(state, stream, settings, schedule=Cosine(TOTAL, 0.2))
    for found, expected in zip(state.network.parameters(), by_hand, strict=True):
        torch.testing.assert_close(found.detach(), expected, rtol=1e-4, atol=1e-6)


def test_losses_and_entropies_are_the_means_of_the_segments(stream: TrainingStream, fresh: Fresh) -> None:
    settings = TrainingSettings()
    state, seen = fresh(settings), []

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        value = cross_entropy(logits, batch)
        seen.append(value.item())
        return 3 * value

    train(state, stream, loss, settings, TOTAL, SCHEDULE, 9, stops=STOPS)
    entropies = [sum(seen[start:end]) / (end - start) for start, end in pairwise((0, *ENDS))]
    assert state.entropies == pytest.approx(entropies)
    assert state.losses == pytest.approx([3 * entropy for entropy in entropies])


def test_weight_decay_is_on_matrices_and_kernels_only(fresh: Fresh) -> None:
    decay = {
        id(parameter): group["weight_decay"]
        for group in fresh(TrainingSettings(weight_decay=0.3)).optimiser.param_groups
        for parameter in group["params"]
        if parameter.ndim > 1 or group["weight_decay"] == 0
    }
    assert sorted(decay.values()) == [0.0, 0.0, 0.0, 0.3, 0.3, 0.3]


@pytest.mark.parametrize("name", ["sgd", "muon", "adamw"])
def test_a_companion_is_optimised_like_the_network(name: OptimizerName) -> None:
    def network() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, bias=False), nn.Conv2d(8, 8, 3, bias=False), nn.Flatten(), nn.Linear(8, 2)
        )

    settings = TrainingSettings(optimizer=name, width_scaling=True)
    student, companion = network(), network()
    method = nn.ModuleList([companion, nn.Linear(5, 2)])  # the other part is a loss's own
    groups = optimiser(settings, student, method, companions={companion: 1.0}).param_groups
    kinds = {parameter: number for number, group in enumerate(groups) for parameter in group["params"]}
    ours, theirs = ([kinds[parameter] for parameter in each.parameters()] for each in (student, companion))
    assert ours == theirs
    assert len(set(ours)) > 1


@pytest.mark.parametrize("name", ["sgd", "muon", "adamw"])
def test_a_companion_learns_at_a_share_of_the_rate_and_not_at_all_at_none(name: OptimizerName) -> None:
    student, companion = nn.Linear(64, 2), nn.Linear(512, 2)
    settings = TrainingSettings(optimizer=name, width_scaling=True, weight_decay=0.1)
    for rate in (0.5, 0.0):
        groups = optimiser(settings, student, companion, companions={companion: rate}).param_groups
        found = {each: (group["factor"], group["weight_decay"]) for group in groups for each in group["params"]}
        assert [found[parameter] for parameter in student.parameters()] == [(1.0, 0.1), (1.0, 0.0)]
        assert [found[each] for each in companion.parameters()] == [(rate / 8, pytest.approx(0.8)), (rate, 0.0)]


@pytest.mark.parametrize("name", ["sgd", "muon", "adamw"])
def test_a_parameter_whose_first_gradient_comes_later_is_trained_from_there_on(name: OptimizerName) -> None:
    first, later = nn.Linear(3, 2), nn.Linear(3, 2)
    before = later.weight.detach().clone()
    steps = optimiser(TrainingSettings(optimizer=name), nn.Sequential(first, later))
    for network, changes in ((first, False), (later, True)):
        steps.zero_grad()
        network(torch.ones(1, 3)).square().sum().backward()
        steps.step()
        assert torch.equal(later.weight, before) is not changes


def test_momentum_of_zero_changes_no_step_of_torch() -> None:
    def trained(prepared: bool) -> list[Tensor]:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 2))
        settings = TrainingSettings(weight_decay=0.01)
        steps = optimiser(settings, network)
        if not prepared:
            steps.state.clear()
        for group in steps.param_groups:
            group["lr"] = 0.1
        for _ in range(3):
            steps.zero_grad()
            network(torch.ones(4, 5)).square().sum().backward()
            steps.step()
        return [parameter.detach() for parameter in network.parameters()]

    assert all(torch.equal(ours, torchs) for ours, torchs in zip(trained(True), trained(False), strict=True))


def test_a_network_of_vectors_or_of_matrices_only_can_be_trained() -> None:
    for network in (nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2)):
        assert len(optimiser(TrainingSettings(), network).param_groups) == 1


@pytest.mark.parametrize(
    "settings",
    [
        TrainingSettings(),
        TrainingSettings(precision="bfloat16"),
        TrainingSettings(learning_rate=0.01, optimizer="adamw"),
        TrainingSettings(learning_rate=0.05, optimizer="muon", width_scaling=True),
        TrainingSettings(ema=0.9, gradient_clip=0.1, width_scaling=True),
    ],
    ids=["sgd", "bfloat16", "adamw", "muon", "averaged, clipped and scaled"],
)
@pytest.mark.parametrize("stop", ENDS[:-1])
def test_training_resumed_at_the_end_of_a_segment_is_bit_identical(
    stream: TrainingStream, fresh: Fresh, tmp_path: Path, settings: TrainingSettings, stop: int
) -> None:
    whole, first, second = fresh(settings), fresh(settings), fresh(settings)
    run(whole, stream, settings)
    run(first, stream, settings, until=stop)
    save_checkpoint(first, tmp_path / "checkpoint")
    torch.manual_seed(stop)  # the process that resumes has another random state
    load_checkpoint(second, tmp_path / "checkpoint")
    run(second, stream, settings)
    assert_same(second, whole)


def test_the_first_adamw_step_is_the_rate_for_each_weight_and_a_decoupled_decay(
    stream: TrainingStream, fresh: Fresh
) -> None:
    settings = TrainingSettings(learning_rate=0.01, weight_decay=0.1, optimizer="adamw")
    state = fresh(settings)
    weight = state.network[-1].weight
    before = weight.detach().clone()
    train(state, stream, lambda logits, batch: logits.sum(), settings, 1, lambda step: 0.5, 0)
    moved = weight.detach() - before * (1 - 0.005 * 0.1)
    used = weight.grad.abs() > 1e-4  # the other gradients are 0 because of dropout
    torch.testing.assert_close(moved[used], -0.005 * weight.grad.sign()[used], rtol=1e-3, atol=1e-6)


def test_a_long_gradient_is_scaled_to_the_largest_norm(stream: TrainingStream, fresh: Fresh) -> None:
    settings = TrainingSettings(gradient_clip=1e-3, weight_decay=0.0, momentum=0.0)  # SGD adds both to gradients
    state = fresh(settings)
    train(state, stream, lambda logits, batch: 1e3 * cross_entropy(logits, batch), settings, 1, SCHEDULE, 0)
    norms = [parameter.grad.norm() for parameter in state.network.parameters()]
    assert math.hypot(*norms) == pytest.approx(1e-3, rel=1e-3)


def test_the_average_follows_every_step(stream: TrainingStream, fresh: Fresh) -> None:
    settings = TrainingSettings(ema=0.5)
    state, weights = fresh(settings), []
    expected = state.network[-1].weight.detach().clone()
    run(state, stream, settings, schedule=lambda step: weights.append(state.network[-1].weight.clone()) or 1.0)
    for step, weight in enumerate([*weights[1:], state.network[-1].weight], 1):
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight.detach()
    torch.testing.assert_close(state.average.tensors["6.weight"], expected)


def test_epochs_are_updated_at_the_end_of_each_segment(stream: TrainingStream, fresh: Fresh) -> None:
    settings, epochs = TrainingSettings(), []
    run(fresh(settings), stream, settings, on_segment=lambda state: epochs.append(state.epochs))
    assert epochs == [0.4, 1.0, 1.6, 2.0, 3.0]


def test_a_segment_ends_at_every_epoch_boundary_and_stop(stream: TrainingStream, fresh: Fresh) -> None:
    settings, ends = TrainingSettings(), []
    run(fresh(settings), stream, settings, until=12, on_segment=lambda state: ends.append(state.step))
    assert ends == [2, 5, 8, 10, 12]


def test_training_neither_uses_nor_changes_the_global_random_state(stream: TrainingStream, fresh: Fresh) -> None:
    settings = TrainingSettings()
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    run(fresh(settings), stream, settings)
    assert torch.equal(torch.rand(3), expected)


def test_dropout_differs_between_seeds_and_segments(stream: TrainingStream) -> None:
    settings, masks = TrainingSettings(), set()

    def remember(logits: Tensor, batch: Batch) -> Tensor:
        masks.add(tuple((logits == 0).flatten().tolist()))
        return logits.sum()

    for seed in range(2):
        network = nn.Sequential(nn.Flatten(), nn.Linear(36, 3), nn.Dropout(0.5))
        train(TrainingState(network, optimiser(settings, network)), stream, remember, settings, TOTAL, SCHEDULE, seed)
    assert len(masks) == 2 * TOTAL


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_an_error(stream: TrainingStream, fresh: Fresh, value: float) -> None:
    settings = TrainingSettings()
    with pytest.raises(DivergedError, match="the loss is no longer finite at step 5"):
        train(fresh(settings), stream, lambda logits, batch: logits.sum() * value, settings, 5, SCHEDULE, 0)


def test_an_absurd_learning_rate_diverges(stream: TrainingStream, fresh: Fresh) -> None:
    settings = TrainingSettings(learning_rate=1e30)
    with pytest.raises(DivergedError):
        run(fresh(settings), stream, settings)


def test_with_bfloat16_the_loss_gets_float32_logits(stream: TrainingStream, fresh: Fresh) -> None:
    settings, types = TrainingSettings(precision="bfloat16"), set()

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        types.add(logits.dtype)
        return cross_entropy(logits, batch)

    train(fresh(settings), stream, loss, settings, 5, SCHEDULE, 0)
    assert types == {torch.float32}


def test_training_learns(stream: TrainingStream, fresh: Fresh, dataset) -> None:
    settings = TrainingSettings(learning_rate=0.05)
    state = fresh(settings)
    train(state, stream, cross_entropy, settings, 60, Cosine(60), 0)
    logits = predict(state.network, dataset.validation, dataset.normalisation)
    assert label_metrics(logits, dataset.validation.labels)["accuracy"] > 0.8


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(
    ("shape", "first"),
    [((6, 2), lambda: nn.Conv1d(2, 8, 3, padding=1, bias=False)), ((6,), lambda: nn.Linear(6, 8, bias=False))],
    ids=["signals", "vectors"],
)
def test_training_learns_from_signals_and_vectors(make_dataset, shape, first, dtype, precision: str) -> None:
    dataset, settings = (
        make_dataset(shape=shape, dtype=dtype),
        TrainingSettings(learning_rate=0.05, precision=precision),
    )
    stream = TrainingStream(dataset, Augmentation(), 12, 1, 3, torch.device("cpu"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(first(), nn.BatchNorm1d(8), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
        network(stream.batch(torch.arange(2), 0).images)
    train(TrainingState(network, optimiser(settings, network)), stream, cross_entropy, settings, 60, Cosine(60), 0)
    logits = predict(network, dataset.validation, dataset.normalisation)
    assert label_metrics(logits, dataset.validation.labels)["accuracy"] > 0.8
