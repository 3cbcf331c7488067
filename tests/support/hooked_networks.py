"""Networks of all kinds, their samples and default layers, for tests of what hooks find in them."""

import pytest
import torch
from torch import Tensor, nn

from search_spaces.architecture.format import Architecture, Node
from search_spaces.networks.network import build

ARCHITECTURE = Architecture(
    (2, 8, 8),
    3,
    (
        Node("input", (), 2, name="image"),
        Node("conv3x3_bn", (0,), 4, name="left"),
        Node("conv1x1_bn", (0,), 4, name="right"),
        Node("relu_conv3x3_bn", (1, 2), 6, stride=2, merge="weighted_sum", name="down"),
        Node("conv1x1_bn", (3,), 6, name="small"),
        Node("relu_conv3x3_bn", (3, 4), 6, merge="sum", name="last"),
        Node("classifier", (3, 4, 5), 3, merge="mean", name="classifier"),
    ),
)


class Block(nn.Module):
    """A residual block whose ReLUs modify the outputs of batch normalisation and of the sum in place."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, padding=1)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)
        return self.relu(y)  # type: ignore[no-any-return]


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.stage1 = nn.Sequential(Block(4, 4, 1), Block(4, 4, 1))
        self.stage2 = nn.Sequential(Block(4, 6, 2), Block(6, 6, 1))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage2(self.stage1(self.stem(x)))
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


def plain() -> nn.Sequential:
    layers = [nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)]
    return nn.Sequential(*layers)


def signals() -> nn.Sequential:
    layers = [nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv1d(4, 5, 3, 2, 1), nn.BatchNorm1d(5)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(5, 3))


def vectors() -> nn.Sequential:
    return nn.Sequential(nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))


def all_convolutional() -> nn.Sequential:
    layers = [nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 2, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers)


def searched() -> nn.Module:
    return build(ARCHITECTURE)


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


IMAGES, FIDELITY_METRICS, VECTORS = drawn(5, 2, 8, 8), drawn(5, 2, 8), drawn(5, 7)
NETWORKS = [
    (plain, IMAGES, ("2", "5")),
    (Residual, IMAGES, ("stage1", "stage2")),
    (searched, IMAGES, ("right", "last")),
    (all_convolutional, IMAGES, ("1", "2")),
    (signals, FIDELITY_METRICS, ("1", "3")),
    (vectors, VECTORS, ("4",)),
]
HOOKED = pytest.mark.parametrize(("make", "samples", "layers"), NETWORKS, ids=[n[0].__name__ for n in NETWORKS])
