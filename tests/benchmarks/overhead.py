"""What an irregular graph costs beyond its own node operations, in a training step's forward and backward pass.

    OMP_NUM_THREADS=1 python tests/benchmarks/overhead.py [--draws 3] [--repeats 7] [--batch 64] [--params ...]

For each drawn network, on one thread, in the channels-last format, in turn in one process:

* graph: the network forward, then the gradients of all its parameters from a gradient of ones;
* alone: every node's own module (ReLU, convolutions, batch norm) forward, and backward at once from a gradient of ones;
* row: all these modules forward, one after the other, then all backward in the opposite order.

Alone and row merge nothing. A module's input is a tensor of its own with the shape, precision and memory format that
it has in the network, and gets a gradient wherever the network needs one. Alone finds in the cache what its forward
pass has just written, which no training step can; row holds the activations of the whole network as every step does,
so graph / row is what the irregularity costs and graph / alone what everything costs.

Seconds are CPU seconds of the process, which on one thread are those of the clock less what other processes took.
"""

import argparse
import copy
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture
from search_spaces.design.budget import Budget
from search_spaces.design.registry import space
from search_spaces.networks.network import Network, build

SHAPE = (3, 32, 32)
CLASSES = 10
PRECISIONS = ("float32", "bfloat16")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--spaces", nargs="+", default=["nago", "randwire"])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--params", type=int, nargs="+", default=[300_000, 1_000_000])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, batch {arguments.batch}; ", end="")
    print(f"n = {arguments.repeats}: median (min to max)\n")
    print("| space | draw | parameters | nodes | merged | precision | graph, s | graph / alone | graph / row |")
    print("|---|---|---|---|---|---|---|---|---|")
    found: dict[tuple[str, str], list[_Times]] = {}
    for name in arguments.spaces:
        for params in arguments.params:
            for draw in range(arguments.draws):
                architecture = _draw(name, params, draw)
                for precision in PRECISIONS:
                    times = _measure(architecture, precision, arguments.batch, arguments.repeats)
                    _print(name, draw, architecture, precision, times)
                    found.setdefault((name, precision), []).append(times)
    print("\nMedians of the networks' medians:\n")
    for (name, precision), of_networks in found.items():
        alone = [statistics.median(times.over(times.alone)) for times in of_networks]
        row = [statistics.median(times.over(times.row)) for times in of_networks]
        print(f"* {name}, {precision}, {len(row)} networks: graph / alone {_spread(alone)}, graph / row {_spread(row)}")


def _draw(name: str, params: int, draw: int) -> Architecture:
    rng = np.random.default_rng(draw)
    family = space(name).random_parameters(rng)
    return space(name).sample(family, Budget(params=params), SHAPE, CLASSES, rng)


@dataclass(frozen=True)
class _Times:
    """Seconds, one of each for every repeat."""

    graph: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    row: list[float] = field(default_factory=list)

    def over(self, others: list[float]) -> list[float]:
        """The graph's times as multiples of the others, repeat by repeat."""
        return [graph / other for graph, other in zip(self.graph, others, strict=True)]


def _measure(architecture: Architecture, precision: str, batch: int, repeats: int) -> _Times:
    network = build(architecture).to(memory_format=torch.channels_last).train()
    images = torch.randn(batch, *SHAPE).to(memory_format=torch.channels_last)
    nodes = _nodes(network, images, precision)
    times = _Times()
    for repeat in range(repeats + 1):
        graph = _seconds(lambda: _graph(network, images, precision))
        alone = _seconds(lambda: _alone(nodes, precision))
        row = _seconds(lambda: _row(nodes, precision))
        if repeat:  # the first round warms up
            times.graph.append(graph)
            times.alone.append(alone)
            times.row.append(row)
    return times


def _graph(network: Network, images: Tensor, precision: str) -> None:
    with _autocast(precision):
        logits = network(images)
    torch.autograd.grad(logits, list(network.parameters()), torch.ones_like(logits))


@dataclass(frozen=True)
class _Node:
    """A node's module, what enters it, and the gradient that reaches its output."""

    module: nn.Module
    entering: Tensor
    ones: Tensor

    def backward(self, result: Tensor) -> None:
        """Gradients of the parameters and, where the network needs it, of what entered."""
        wanted = [*self.module.parameters(), *([self.entering] if self.entering.requires_grad else [])]
        torch.autograd.grad(result, wanted, self.ones)


def _nodes(network: Network, images: Tensor, precision: str) -> list[_Node]:
    """All nodes that compute something; their ReLUs leave their inputs as they are, since here nothing makes them."""
    twin = copy.deepcopy(network)
    for child in twin.children():
        if isinstance(child, nn.Sequential) and isinstance(child[0], nn.ReLU):
            child[0] = nn.ReLU()
    nodes: list[_Node] = []

    def record(module: nn.Module, args: tuple[Tensor], result: Tensor) -> None:
        if not isinstance(module, nn.Identity):
            entering = args[0].detach().clone().requires_grad_(args[0].requires_grad)
            nodes.append(_Node(module, entering, torch.ones_like(result)))

    for child in twin.children():
        child.register_forward_hook(record)
    with _autocast(precision):
        twin(images)
    for child in twin.children():
        child._forward_hooks.clear()
    return nodes


def _alone(nodes: list[_Node], precision: str) -> None:
    for node in nodes:
        with _autocast(precision):
            result = node.module(node.entering)
        node.backward(result)


def _row(nodes: list[_Node], precision: str) -> None:
    with _autocast(precision):
        results = [node.module(node.entering) for node in nodes]
    for node in reversed(nodes):
        node.backward(results.pop())


@contextmanager
def _autocast(precision: str) -> Iterator[None]:
    """As in `autokd.training.loop`."""
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        yield


def _seconds(run: Callable[[], None]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def _print(name: str, draw: int, architecture: Architecture, precision: str, times: _Times) -> None:
    merged = sum(len(node.inputs) for node in architecture.nodes if node.merge != "none")
    cells = [name, draw, f"{cost(architecture).params:,}", len(architecture.nodes), merged, precision]
    cells += [f"{statistics.median(times.graph):.3f}", _spread(times.over(times.alone)), _spread(times.over(times.row))]
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
