"""The training loop of one network, given a stream of batches and a loss."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from autokd.config.schema import OptimizerName, TrainingConfig
from autokd.core.rng import forked_rng
from autokd.core.seeds import derive
from autokd.data.stream import Batch
from autokd.errors import DivergedError
from autokd.training.averaged_weights import Average
from autokd.training.best_checkpoint import Score
from autokd.training.muon import Muon, scale_free_kernels
from autokd.training.schedules import Schedule
from autokd.training.timetable import segment_ends
from autokd.training.width_scaling import rate_factors

__all__ = ["Batches", "Loss", "TrainingSettings", "TrainingState", "fresh_state", "optimiser", "train"]

Loss = Callable[[Tensor, Batch], Tensor]  # (logits, their batch) -> scalar

_CHECK_EVERY = 500  # steps between checks of the loss within a segment, since each one synchronises with the GPU


class Batches(Protocol):
    """Source of a training's batches, such as a `TrainingStream`."""

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in an epoch."""

    def batches(self, first_step: int, last_step: int) -> Iterator[Batch]:
        """Batches of the steps `first_step <= step < last_step`, all of the same epoch."""


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a training, without its loss and its schedule.

    Attributes:
        learning_rate: Peak learning rate of the schedule.
        weight_decay: Decay of weights with more than one dimension; scales, shifts and biases have none. It is an L2
            penalty with "sgd", and decoupled with "adamw" and for the kernels of "muon".
        momentum: Nesterov momentum with "sgd" and "muon", decay of the mean gradient with "adamw".
        precision: "float32", or "bfloat16" for autocast.
        optimizer: "sgd", "adamw" or "muon", see `Muon`.
        gradient_clip: Largest norm of all gradients together, to which a longer gradient is scaled; None for no limit.
        ema: Decay of the moving average of the network's weights, see `Average`; None for no average.
        width_scaling: Whether learning rates depend on the layers' widths, see `rate_factors`.
    """

    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    momentum: float = 0.9
    precision: str = "float32"
    optimizer: OptimizerName = "sgd"
    gradient_clip: float | None = None
    ema: float | None = None
    width_scaling: bool = False

    @classmethod
    def of(cls, config: TrainingConfig) -> Self:
        """The settings of a section `[training]`, whose precision is resolved (not "auto")."""
        return cls(**config.model_dump(include={setting.name for setting in fields(cls)}))


@dataclass
class TrainingState:
    """State of a training, changed in place.

    Attributes:
        network: The network, on its device.
        optimiser: Optimiser of the network and the method.
        method: Module with the parameters and buffers of the loss, trained with the same optimiser.
        average: Moving average of the network's weights, if any.
        step: Number of steps so far.
        epochs: Number of epochs so far.
        losses: Mean training loss of each finished segment.
        entropies: Mean cross-entropy of the network's outputs with the labels in each finished segment, in nats. Unlike
            the loss, it is comparable between methods.
        best: Score of the best epoch so far, if the best network is kept.
        best_weights: The network's state dict at that epoch, on the CPU; empty before there is one.
        steps_per_second: Speed of the last segment; None before its end.
    """

    network: nn.Module
    optimiser: Optimizer
    method: nn.Module = field(default_factory=nn.Module)
    average: Average | None = None
    step: int = 0
    epochs: float = 0.0
    losses: list[float] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    best: Score | None = None
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    steps_per_second: float | None = None


def fresh_state(
    settings: TrainingSettings,
    network: nn.Module,
    method: nn.Module | None = None,
    companions: Mapping[nn.Module, float] | None = None,
) -> TrainingState:
    """State before the first step, with the optimiser and the average that the settings require.

    Group norms of network and method get a hook, see `_with_gradient`.

    Args:
        settings: Settings of the training.
        network: The network, on its device.
        method: Module with the parameters and buffers of the loss, if any; it is not averaged.
        companions: Parts of the method that are networks to be optimised like the network, each with a factor on its
            learning rate.
    """
    method = method or nn.Module()
    for module in (*network.modules(), *method.modules()):
        if isinstance(module, nn.GroupNorm):
            module.register_forward_pre_hook(_with_gradient)
    average = None if settings.ema is None else Average(network, settings.ema)
    return TrainingState(network, optimiser(settings, network, method, companions=companions), method, average)


def _with_gradient(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Inputs of a group norm that have gradients.

    Torch 2.13 crashes in the backward pass of a group norm on a CPU if its inputs are channels_last and need none, as
    after layers that are frozen.
    """
    is_needed = torch.is_grad_enabled() and not any(each.requires_grad for each in inputs)
    return tuple(each.detach().requires_grad_() for each in inputs) if is_needed else inputs


def optimiser(
    settings: TrainingSettings,
    network: nn.Module,
    *others: nn.Module,
    companions: Mapping[nn.Module, float] | None = None,
) -> Optimizer:
    """Optimiser of the modules' parameters.

    The "factor" of a parameter group multiplies the schedule's learning rate; "orthogonal" groups are for `Muon`.

    Args:
        settings: Settings of the training.
        network: The network, on whose layers' widths the factors may depend.
        *others: Further modules.
        companions: Parts of these that are optimised like the network, each with a factor on its learning rate.
    """
    factors: dict[Tensor, float] = {}
    kernels: set[Tensor] = set()
    companions = companions or {}
    for each in (network, *companions):
        factors |= rate_factors(each, settings.optimizer) if settings.width_scaling else {}
        kernels |= scale_free_kernels(each) if settings.optimizer == "muon" else set()
    rates = {parameter: rate for companion, rate in companions.items() for parameter in companion.parameters()}
    groups: dict[tuple[bool, float, bool, float], list[nn.Parameter]] = {}
    for parameter in _parameters(network, *others):
        is_free, is_kernel = parameter.ndim <= 1, parameter in kernels
        kind = is_free, factors.get(parameter, 1.0), is_kernel, rates.get(parameter, 1.0)
        groups.setdefault(kind, []).append(parameter)
    described = [
        {
            "params": parameters,
            "weight_decay": 0.0 if is_free else settings.weight_decay / factor,  # so that rate x decay is constant
            "factor": factor * rate,
            "orthogonal": is_kernel,
        }
        for (is_free, factor, is_kernel, rate), parameters in sorted(groups.items(), key=lambda group: group[0])
    ]
    rate, momentum = settings.learning_rate, settings.momentum
    if settings.optimizer == "adamw":
        return AdamW(described, lr=rate, betas=(momentum, 0.999), fused=True)
    if settings.optimizer == "muon":
        return _moving(Muon(described, rate, momentum))
    return _moving(SGD(described, lr=rate, momentum=momentum, nesterov=momentum > 0, fused=True))


def _moving(optimiser: SGD) -> SGD:
    """The same with momentum of zero to begin with: a fused SGD takes no parameter whose gradient comes later else."""
    for group in optimiser.param_groups:
        for parameter in group["params"] if group["momentum"] else ():
            optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimiser


def train(
    state: TrainingState,
    stream: Batches,
    loss: Loss,
    settings: TrainingSettings,
    until: int,
    schedule: Schedule,
    seed: int,
    on_segment: Callable[[TrainingState], None] = lambda state: None,
    stops: tuple[int, ...] = (),
) -> None:
    """Train from `state.step` to step `until` of a schedule.

    Training runs in segments, see `segment_ends`. The randomness of a segment (dropout) has its own seed. So a training
    that is resumed at the end of a segment is, on the CPU, bit-identical to one that is not interrupted, provided that
    all steps at which it may be interrupted are among the stops; some kernels of CUDA give other bits each time.

    Args:
        state: Initial state; changed in place.
        stream: Source of the batches.
        loss: Loss to minimise.
        settings: Settings of the training.
        until: Step at which to stop.
        schedule: Factor on the peak learning rate for each step.
        seed: Seed of the training's own randomness.
        on_segment: Function called at the end of each segment, for example to save a checkpoint.
        stops: Further steps at which a segment ends.

    Raises:
        DivergedError: If the loss becomes infinite or NaN.
    """
    for end in segment_ends(state.step, until, stream.steps_per_epoch, stops):
        first_step, began = state.step, time.perf_counter()
        with forked_rng(*{parameter.device for parameter in state.network.parameters()}):
            torch.manual_seed(derive(seed, "segment", state.step))
            _segment(state, stream, loss, settings, end, schedule)
        state.steps_per_second = (state.step - first_step) / (time.perf_counter() - began)
        state.epochs = state.step / stream.steps_per_epoch
        on_segment(state)


def _segment(
    state: TrainingState, stream: Batches, loss: Loss, settings: TrainingSettings, last_step: int, schedule: Schedule
) -> None:
    """Train up to `last_step`, within one epoch."""
    network = state.network.train()
    state.method.train()
    device = next(network.parameters()).device
    parameters = list(_parameters(network, state.method))
    first_step, (loss_sum, entropy_sum) = state.step, torch.zeros(2, device=device)
    for batch in stream.batches(first_step, last_step):
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
            logits = network(batch.images)
        value = loss(logits.float(), batch)
        state.optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        if settings.gradient_clip is not None:
            nn.utils.clip_grad_norm_(parameters, settings.gradient_clip, foreach=True)
        _step(state, settings.learning_rate * schedule(state.step + 1))
        loss_sum += value.detach()
        entropy_sum += F.cross_entropy(logits.detach()[: len(batch.labels)].float(), batch.labels)  # of the first view
        if state.step % _CHECK_EVERY == 0:
            _check_finite(float(loss_sum), state.step)
    n_steps = last_step - first_step
    _check_finite(float(loss_sum), state.step)
    state.losses.append(float(loss_sum) / n_steps)
    state.entropies.append(float(entropy_sum) / n_steps)


def _step(state: TrainingState, learning_rate: float) -> None:
    """Update the parameters by their gradients, and the average by the parameters."""
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate * group["factor"]
    state.optimiser.step()
    state.step += 1
    if state.average is not None:
        state.average.update(state.step)


def _parameters(*modules: nn.Module) -> Iterator[nn.Parameter]:
    for module in modules:
        yield from module.parameters()


def _check_finite(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise DivergedError(f"training diverged: the loss is no longer finite at step {step}.")
