"""A task that every network can learn, and what is measured on it: gradients at the first step, and the loss."""

from itertools import cycle, islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autokd.training.loop import TrainingSettings, optimiser
from search_spaces.architecture.layers import Shape

__all__ = ["BATCH", "relative_gradients", "toy_losses", "toy_samples"]

BATCH = 64
SAMPLES = 1024
NOISE = 0.7  # standard deviation, relative to that of the classes' means
WARMUP = 5  # steps
GRID = 4  # classes' means are smooth: interpolated between this many random values along each axis


def toy_samples(shape: Shape, classes: int) -> tuple[Tensor, Tensor]:
    """Samples in random order and their labels: each class is a random smooth pattern, to which noise is added.

    Args:
        shape: Shape of one sample, without the batch.
        classes: Number of classes.
    """
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randn(classes, shape[0], *(GRID for _ in shape[1:]), generator=generator)
    if len(shape) > 1:
        patterns = F.interpolate(patterns, shape[1:], mode="linear" if len(shape) == 2 else "bilinear")
    labels = torch.arange(SAMPLES)[torch.randperm(SAMPLES, generator=generator)] % classes
    noise = torch.randn(SAMPLES, *shape, generator=generator)
    return patterns[labels] / patterns.std() + NOISE * noise, labels


def relative_gradients(network: nn.Module, samples: Tensor, labels: Tensor) -> dict[str, float]:
    """Change of the loss per relative change of each kernel: the norm of its gradient times its own norm.

    Args:
        network: A network.
        samples: A batch.
        labels: Its labels.
    """
    named = {name: weight for name, weight in network.named_parameters() if weight.ndim > 1}
    loss = F.cross_entropy(network.train()(samples), labels)
    gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {
        name: 0.0 if gradient is None else float(gradient.norm() * weight.detach().norm())
        for (name, weight), gradient in zip(named.items(), gradients, strict=True)
    }


def toy_losses(network: nn.Module, samples: Tensor, labels: Tensor, steps: int = 50) -> list[float]:
    """Cross-entropy at each step of a training with the default settings, after a short warm-up.

    Args:
        network: A network; it is trained.
        samples: All samples; the batches are taken in order.
        labels: Their labels.
        steps: Number of steps.
    """
    settings = TrainingSettings()
    sgd = optimiser(settings, network.train())
    losses: list[float] = []
    batches = cycle(zip(torch.split(samples, BATCH), torch.split(labels, BATCH), strict=True))
    for step, (images, wanted) in enumerate(islice(batches, steps), start=1):
        for group in sgd.param_groups:
            group["lr"] = settings.learning_rate * min(1.0, step / WARMUP)
        loss = F.cross_entropy(network(images), wanted)
        sgd.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        sgd.step()
        losses.append(float(loss.detach()))
    return losses
