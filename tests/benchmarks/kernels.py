"""What our kernels make of a training step: each against torch's own operations, then whole steps of students.

    OMP_NUM_THREADS=1 python tests/benchmarks/kernels.py [--repeats 7] [--batch 128] [--draws 3] [--params ...]

All on one thread, in the channels-last format, torch and ours in turn in one process. A step is forward, cross entropy
and backward of a student of one channel of 28 x 28; a kernel's line is its forward pass and the backward pass from a
gradient at hand. Seconds are CPU seconds of the process, which on one thread are those of the clock less what other
processes took; other processes still take part of the caches.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.architecture.format import Architecture
from search_spaces.design.budget import Budget
from search_spaces.design.registry import space
from search_spaces.networks.kernels import bindings
from search_spaces.networks.kernels.batch_norm import BatchNorm2d
from search_spaces.networks.kernels.convolution import Conv2d
from search_spaces.networks.kernels.library import Kernels, load
from search_spaces.networks.kernels.pooling import AvgPool2d
from search_spaces.networks.merging import gathered, spread
from search_spaces.networks.network import build

SHAPE = (1, 28, 28)
CLASSES = 10
MACS = 10_500_000
SIZES = ((6, 28), (9, 28), (12, 28), (16, 28), (12, 14), (18, 14), (37, 14), (64, 7))  # channels, height
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SUMMANDS = 3
SIDE = 2  # of a pooled window

Run = Callable[[], object]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--params", type=int, default=87_345)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, batch {arguments.batch}; ", end="")
    print(f"n = {arguments.repeats}: median (min to max). Kernels: {load().detail}\n")
    print("| kernel | shape | precision | torch, ms | ours, ms | torch / ours |\n|---|---|---|---|---|---|")
    for channels, height in SIZES:
        for precision, dtype in PRECISIONS.items():
            shape = (arguments.batch, channels, height, height)
            runs = {"batch norm": _norm(shape, dtype), f"weighted sum of {SUMMANDS}": _sum(shape, dtype)}
            if height % SIDE == 0:
                runs["average pool"] = _pool(shape, dtype)
            if dtype == torch.bfloat16 and channels <= bindings.convolution_limits()[0]:
                runs["convolution"] = _convolution(shape)
            for name, run in runs.items():
                label = f"{name} | {channels} x {height} x {height} | {precision}"
                _print(label, run, arguments.repeats, lambda seconds: 1000 * seconds)
    print(
        "\n| student | nodes | precision | torch, images/s | ours, images/s | ours / torch |\n|---|---|---|---|---|---|"
    )
    for name in ("nago", "randwire"):
        for draw in range(arguments.draws):
            architecture = _draw(name, arguments.params, draw)
            for precision in PRECISIONS:
                label = f"{name} {draw} | {len(architecture.nodes)} | {precision}"
                run = _step(architecture, precision == "bfloat16", arguments.batch)
                _print(label, run, arguments.repeats, lambda seconds: arguments.batch / seconds)


def _norm(shape: tuple[int, ...], dtype: torch.dtype) -> Run:
    norm = BatchNorm2d(shape[1])
    x, gradient = _images(shape, dtype).requires_grad_(), _images(shape, dtype)
    return lambda: torch.autograd.grad(norm(x), (x, norm.weight, norm.bias), gradient)


def _pool(shape: tuple[int, ...], dtype: torch.dtype) -> Run:
    pool, x = AvgPool2d(SIDE), _images(shape, dtype).requires_grad_()
    gradient = _images((*shape[:2], shape[2] // SIDE, shape[3] // SIDE), dtype)
    return lambda: torch.autograd.grad(pool(x), x, gradient)


def _convolution(shape: tuple[int, ...]) -> Run:
    layer = Conv2d(shape[1], shape[1], 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    x, gradient = _images(shape, torch.bfloat16).requires_grad_(), _images(shape, torch.bfloat16)

    def run() -> object:
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
        return torch.autograd.grad(y, (x, layer.weight), gradient)

    return run


def _sum(shape: tuple[int, ...], dtype: torch.dtype) -> Run:
    """Of several tensors, each of which has two readers with gates."""
    tensors = [_images(shape, dtype).requires_grad_() for _ in range(SUMMANDS)]
    weights = torch.zeros(2 * SUMMANDS, requires_grad=True)
    gradient = _images(shape, dtype)

    def run() -> object:
        gates = torch.sigmoid(weights).unbind()
        copies = [spread(x, gates[i::SUMMANDS]) for i, x in enumerate(tensors)]
        sums = [gathered(gates[k * SUMMANDS :][:SUMMANDS], *[both[k] for both in copies]) for k in range(2)]
        return torch.autograd.grad(sums, (*tensors, weights), [gradient, gradient])

    return run


def _step(architecture: Architecture, half: bool, batch: int) -> Run:
    network: nn.Module = build(architecture).to(memory_format=torch.channels_last)
    images, labels = _images((batch, *SHAPE), torch.float32), torch.arange(batch) % CLASSES

    def run() -> object:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = network(images)
        return torch.autograd.grad(F.cross_entropy(logits.float(), labels), list(network.parameters()))

    return run


def _draw(name: str, params: int, draw: int) -> Architecture:
    rng = np.random.default_rng(draw)
    family = space(name).random_parameters(rng)
    return space(name).sample(family, Budget(params=params, macs=MACS), SHAPE, CLASSES, rng)


def _images(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.randn(shape).to(dtype).to(memory_format=torch.channels_last)


def _print(label: str, run: Run, repeats: int, unit: Callable[[float], float]) -> None:
    """One line: torch's and our numbers in the unit, and how many times as fast ours is."""
    pairs = [(_seconds(run, Kernels(None, "left out")), _seconds(run, load())) for _ in range(repeats + 1)][1:]
    torchs, ours = ([unit(seconds) for seconds in column] for column in zip(*pairs, strict=True))
    ratios = [torchs / ours for torchs, ours in pairs]
    print(f"| {label} | {_spread(torchs)} | {_spread(ours)} | {_spread(ratios)} |", flush=True)


def _seconds(run: Run, kernels: Kernels) -> float:
    bindings.load = lambda: kernels
    started = time.process_time()
    run()
    return time.process_time() - started


def _spread(values: list[float]) -> str:
    digits = 0 if min(values) >= 20 else 2
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    main()
