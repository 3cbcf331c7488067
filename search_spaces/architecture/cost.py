"""The exact cost of an architecture, without tensors."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from search_spaces.architecture.format import Architecture
from search_spaces.architecture.layers import Shape
from search_spaces.architecture.memory import Demand, moments
from search_spaces.architecture.operations import Profile, profile

__all__ = ["BYTES", "Cost", "cost", "demand", "demands", "profiles"]

BYTES = 4
"""Of one float32 number."""


@dataclass(frozen=True)
class Cost:
    """What a network costs in inference, exactly.

    Attributes:
        params: Trainable numbers as torch counts them, with batch norm scales, merge weights and biases.
        macs: Multiply-accumulates of one sample in convolutions and matrix products.
        activation_bytes: Most float32 activations of one sample alive at one time, input included, in the order of the
            nodes, under the model of `memory.py`.
        model_bytes: Parameters and batch norm statistics as float32.
    """

    params: int
    macs: int
    activation_bytes: int
    model_bytes: int

    @property
    def memory_bytes(self) -> int:
        """Model and activations of one sample together."""
        return self.model_bytes + self.activation_bytes

    @property
    def flops(self) -> int:
        """Two for each multiply-accumulate."""
        return 2 * self.macs


def cost(architecture: Architecture) -> Cost:
    """The cost of an architecture; see `Cost` for what is counted."""
    steps = profiles(architecture)
    gates = sum(len(node.inputs) for node in architecture.nodes if node.merge == "weighted_sum")
    params = sum(step.parameters for step in steps) + gates
    inputs = [node.inputs for node in architecture.nodes]
    peak = max(moments(inputs, demands(architecture)))
    return Cost(
        params=params,
        macs=sum(step.macs for step in steps),
        activation_bytes=BYTES * peak,
        model_bytes=BYTES * (params + sum(step.buffers for step in steps)),
    )


def profiles(architecture: Architecture) -> list[Profile]:
    """What the operation of each node costs; the input node costs nothing but its place."""
    image = prod(architecture.input_shape)
    steps = [Profile(architecture.input_shape, 0, 0, 0, image, image)]
    rest = zip(architecture.nodes[1:], architecture.entering()[1:], strict=True)
    steps += [profile(node.operation, shape, node.channels, node.stride) for node, shape in rest]
    return steps


def demands(architecture: Architecture) -> list[Demand]:
    """What each node holds in memory while it runs."""
    steps = zip(profiles(architecture), architecture.entering(), strict=True)
    return [demand(step, shape) for step, shape in steps]


def demand(step: Profile, entering: Shape) -> Demand:
    """What a node holds in memory, given its operation's profile and the shape of its merged inputs."""
    return Demand(prod(step.output), prod(entering), step.running, step.running_kept)
