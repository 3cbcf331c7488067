"""The exact cost of an architecture, without tensors."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from search_spaces.architecture.format import Architecture
from search_spaces.architecture.layers import Shape
from search_spaces.architecture.memory import Demand, node_peaks
from search_spaces.architecture.operations import Profile

__all__ = ["BYTES", "Cost", "cost", "demand", "demands"]

BYTES = 4
"""Size of one float32 number."""


@dataclass(frozen=True)
class Cost:
    """The exact cost of a network in inference.

    Attributes:
        params: Trainable parameters as PyTorch counts them, including batch norm scales, merge weights and biases.
        macs: Multiply-accumulates of one sample in convolutions and matrix products.
        activation_bytes: Peak size of the float32 activations of one sample that are alive at the same time, the input
            included, if the nodes run in their order; `memory.py` describes the model.
        model_bytes: Parameters and batch norm statistics as float32.
    """

    params: int
    macs: int
    activation_bytes: int
    model_bytes: int

    @property
    def memory_bytes(self) -> int:
        """Size of the model and of the activations of one sample together."""
        return self.model_bytes + self.activation_bytes

    @property
    def flops(self) -> int:
        """Floating-point operations, two for each multiply-accumulate."""
        return 2 * self.macs


def cost(architecture: Architecture) -> Cost:
    """Cost of an architecture; `Cost` describes what is counted."""
    steps = architecture.profiles()
    gates = sum(len(node.inputs) for node in architecture.nodes if node.merge == "weighted_sum")
    params = sum(step.parameters for step in steps) + gates
    inputs = [node.inputs for node in architecture.nodes]
    peak = max(node_peaks(inputs, demands(architecture)))
    return Cost(
        params=params,
        macs=sum(step.macs for step in steps),
        activation_bytes=BYTES * peak,
        model_bytes=BYTES * (params + sum(step.buffers for step in steps)),
    )


def demands(architecture: Architecture) -> list[Demand]:
    """Memory that each node needs while it runs."""
    steps = zip(architecture.profiles(), architecture.entering(), strict=True)
    return [demand(step, shape) for step, shape in steps]


def demand(step: Profile, entering: Shape) -> Demand:
    """Memory that a node needs, from its operation's profile and the shape of its merged inputs."""
    return Demand(prod(step.output), prod(entering), step.running, step.running_kept)
