"""The teachers of the recipes: small residual networks (He et al. 2016, https://arxiv.org/abs/1512.03385).

Their weights lie beside this file; `python -m autokd.recipes.train_teacher RECIPE` makes them again.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ResidualTeacher", "digits", "fashion_mnist"]


def fashion_mnist() -> nn.Module:
    """The teacher for Fashion-MNIST, without weights: 1 x 28 x 28 to 10 classes."""
    return ResidualTeacher(in_channels=1, classes=10, widths=(32, 64, 160, 160))


def digits() -> nn.Module:
    """The teacher for scikit-learn's digits, without weights: 1 x 8 x 8 to 10 classes."""
    return ResidualTeacher(in_channels=1, classes=10, widths=(16, 32, 64))


class ResidualTeacher(nn.Module):
    """A stem, one residual block for each width, global average pooling and a linear classifier.

    The resolution is halved where the width changes, except at the first block.
    """

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = _convolution(in_channels, widths[0], kernel=3)
        pairs = pairwise((widths[0], *widths))
        self.blocks = nn.Sequential(*(_ResidualBlock(narrow, wide) for narrow, wide in pairs))
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, `batch x classes`, of images, `batch x channels x height x width`."""
        features = self.blocks(F.relu(self.stem(images)))
        logits: Tensor = self.classifier(features.mean((2, 3)))
        return logits


class _ResidualBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        stride = 1 if in_channels == out_channels else 2
        self.first = _convolution(in_channels, out_channels, kernel=3, stride=stride)
        self.second = _convolution(out_channels, out_channels, kernel=3)
        self.shortcut = nn.Identity() if stride == 1 else _convolution(in_channels, out_channels, kernel=1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        out = self.second(F.relu(self.first(x)))
        return torch.relu(out + self.shortcut(x))


def _convolution(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution without bias, then batch norm."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(out_channels)
    )
