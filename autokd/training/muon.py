"""Muon: steepest descent for matrices, along momentum whose singular values are made equal."""

from collections import defaultdict
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD

from autokd.distillation.pruning import trained_weight

__all__ = ["Muon", "orthogonalised", "scale_free_kernels"]

ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon(SGD):
    """Muon for the parameter groups that are marked as "orthogonal", SGD with Nesterov momentum for all others.

    Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks",
    https://kellerjordan.github.io/posts/muon/: the gradient's Nesterov momentum is seen as a matrix of outputs by
    everything else, its singular values are replaced by about 1, and the step is that times the learning rate and
    `sqrt(max(1, outputs / others))`. Weight decay is decoupled there, and an L2 penalty in the other groups.

    Departures [ours]: The iteration runs in float32, which is as fast for matrices as small as a student's. The other
    groups have SGD instead of AdamW, so that one learning rate suits all. They include kernels that no batch norm
    follows: steps of a constant size let a student with attention diverge within 600 steps.

    Args:
        groups: Parameter groups, each with a key "orthogonal".
        lr: Learning rate.
        momentum: Nesterov momentum, in `(0, 1)`.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, momentum: float) -> None:
        super().__init__(groups, lr=lr, momentum=momentum, nesterov=True, fused=True)
        self.inertia = momentum
        for group in self.param_groups:
            if group["orthogonal"]:  # plain SGD on gradients that are orthogonalised momentum
                group |= {"momentum": 0.0, "nesterov": False}

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the parameters by their gradients, and replace the gradients of orthogonal groups by their steps."""
        for group in self.param_groups:
            if group["orthogonal"]:
                self._orthogonalise(group["params"])
        super().step(closure)

    @torch.no_grad()
    def _orthogonalise(self, kernels: list[nn.Parameter]) -> None:
        by_shape = defaultdict(list)
        for kernel in kernels:
            if kernel.grad is not None:
                by_shape[kernel.flatten(1).shape].append((kernel.grad, self._direction(kernel, kernel.grad)))
        for (outputs, others), alike in by_shape.items():
            steps = orthogonalised(torch.stack([direction for _, direction in alike]))
            steps *= sqrt(max(1.0, outputs / others))
            for (gradient, _), step in zip(alike, steps, strict=True):
                gradient.copy_(step.view(gradient.shape))

    def _direction(self, kernel: nn.Parameter, gradient: Tensor) -> Tensor:
        """Nesterov momentum of a kernel's gradient, as a matrix."""
        state = self.state[kernel]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        momentum = state["momentum_buffer"].mul_(self.inertia).add_(gradient)
        return gradient.add(momentum, alpha=self.inertia).flatten(1)


def orthogonalised(matrices: Tensor) -> Tensor:
    """Matrices with the same singular vectors, whose singular values are about 1.

    Five steps of the Newton-Schulz iteration of Jordan et al. 2024, whose coefficients trade exactness for speed:
    singular values above 2 % of the matrix' Frobenius norm end within 0.35 of 1, smaller ones grow up to 485 times. A
    matrix of zeros stays as it is.

    Args:
        matrices: Real matrices, shape `(..., rows, columns)`, which is also that of the result.
    """
    linear, cubic, quintic = COEFFICIENTS
    rows, columns = matrices.shape[-2:]
    found: Tensor = matrices.mT if rows > columns else matrices
    found = found / torch.linalg.matrix_norm(found, keepdim=True).clamp(min=torch.finfo(found.dtype).tiny)
    for _ in range(ITERATIONS):
        square = found @ found.mT
        found = linear * found + (cubic * square + quintic * square @ square) @ found
    return found.mT if rows > columns else found


def scale_free_kernels(network: nn.Module) -> set[Tensor]:
    """Weights of convolutions and linear layers that batch norm follows, without filters on a single channel.

    Batch norm undoes the size of a kernel, so it may grow without changing what the network computes, while steps of a
    constant size would let gates, attention and the classifier grow without bound. In the networks of all spaces, the
    layers that batch norm follows are those without bias; in a user's own teacher, they are taken to be.

    Args:
        network: A student, or a teacher in training, pruned or not.
    """
    layers = (layer for layer in network.modules() if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear))
    return {trained_weight(layer) for layer in layers if layer.bias is None and layer.weight.shape[1] > 1}
