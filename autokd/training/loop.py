"""The training loop: one student, one stream of batches, one loss."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim import SGD

from autokd.data.stream import Batch
from autokd.errors import AutoKDError
from autokd.seeds import derive
from autokd.training.schedule import cosine

__all__ = ["Batches", "DivergedError", "Loss", "TrainingSettings", "TrainingState", "optimiser", "train"]

Loss = Callable[[Tensor, Batch], Tensor]  # (logits, what they were computed from) -> scalar

_CHECK_EVERY = 50  # steps between looks at the loss: each look makes a GPU wait


class Batches(Protocol):
    """What a training sees, such as a `TrainingStream`."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""

    def batches(self, first_step: int, last_step: int) -> Iterator[Batch]:
        """The batches of steps `first_step <= step < last_step`, all of one epoch."""


class DivergedError(AutoKDError):
    """The loss is not a finite number any more."""


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained, apart from its loss.

    Attributes:
        learning_rate: Peak of the schedule.
        weight_decay: L2 penalty on weights of more than one dimension; scales, shifts and biases are left free.
        momentum: Nesterov momentum.
        warmup: Part of the training that warms up.
        precision: "float32", or "bfloat16" for autocast.
    """

    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    momentum: float = 0.9
    warmup: float = 0.05
    precision: str = "float32"


@dataclass
class TrainingState:
    """What training changes.

    Attributes:
        network: The network, on its device.
        optimiser: Its optimiser.
        method: What the loss itself learns and remembers, trained by the same optimiser.
        step: Number of steps done.
        losses: Mean training loss of each segment done.
    """

    network: nn.Module
    optimiser: SGD
    method: nn.Module = field(default_factory=nn.Module)
    step: int = 0
    losses: list[float] = field(default_factory=list)


def optimiser(settings: TrainingSettings, *modules: nn.Module) -> SGD:
    """SGD with Nesterov momentum over the modules' parameters."""
    parameters = list(chain.from_iterable(module.parameters() for module in modules))
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return SGD(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        momentum=settings.momentum,
        nesterov=settings.momentum > 0,
        foreach=True,
    )


def train(
    state: TrainingState,
    stream: Batches,
    loss: Loss,
    settings: TrainingSettings,
    until: int,
    total: int,
    seed: int,
    on_segment: Callable[[TrainingState], None] = lambda state: None,
    boundaries: tuple[int, ...] = (),
) -> None:
    """Train from `state.step` to step `until` of a schedule of `total` steps.

    Training runs in segments that end at every epoch's end, at every boundary and at `until`. Each draws its randomness
    (dropout) from a seed of its own, so training that goes on from a segment's end is bit-identical to training that
    never stopped, if all its possible ends are among the boundaries.

    Args:
        state: Where training begins; changed in place.
        stream: The batches.
        loss: What is minimised.
        settings: How.
        until: Step to stop at.
        total: Length of the schedule in steps.
        seed: Seed of the training's own randomness.
        on_segment: Called at each segment's end, for example to save a checkpoint.
        boundaries: Further steps at which a segment ends.

    Raises:
        DivergedError: If the loss becomes infinite or NaN.
    """
    while state.step < until:
        epoch_end = (state.step // stream.steps_per_epoch + 1) * stream.steps_per_epoch
        ends = (epoch_end, until, *boundaries)
        with torch.random.fork_rng(devices=_cuda_devices(state.network)):
            torch.manual_seed(derive(seed, "segment", state.step))
            _segment(state, stream, loss, settings, min(end for end in ends if end > state.step), total)
        on_segment(state)


def _segment(
    state: TrainingState, stream: Batches, loss: Loss, settings: TrainingSettings, last_step: int, total: int
) -> None:
    """Steps up to `last_step`, all of one epoch."""
    network, optimiser = state.network.train(), state.optimiser
    state.method.train()
    device = next(network.parameters()).device
    first_step, loss_sum = state.step, torch.zeros((), device=device)
    for batch in stream.batches(first_step, last_step):
        _set_learning_rate(optimiser, settings, (state.step + 1) / total)
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
            logits = network(batch.images)
        value = loss(logits.float(), batch)
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        loss_sum += value.detach()
        state.step += 1
        if state.step % _CHECK_EVERY == 0 or state.step == last_step:
            _check_finite(float(loss_sum), state.step)
    state.losses.append(float(loss_sum) / (last_step - first_step))


def _set_learning_rate(optimiser: SGD, settings: TrainingSettings, progress: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = settings.learning_rate * cosine(progress, settings.warmup)


def _check_finite(loss_sum: float, step: int) -> None:
    if not math.isfinite(loss_sum):
        raise DivergedError(f"training diverged: the loss is not finite any more at step {step}.")


def _cuda_devices(network: nn.Module) -> list[torch.device]:
    return list({parameter.device for parameter in network.parameters() if parameter.device.type == "cuda"})
