"""Teachers of the recipes: small residual networks (He et al. 2016, https://arxiv.org/abs/1512.03385).

Their weights are in this folder; `python -m autokd.recipes.train_teacher RECIPE FOLDER` trains them again.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ResidualTeacher", "digits", "fashion_mnist"]


def fashion_mnist() -> nn.Module:
    """Teacher for Fashion-MNIST, without its trained weights: 1 x 28 x 28 inputs, 10 classes."""
    return ResidualTeacher(in_channels=1, classes=10, widths=(32, 64, 160, 160))


def digits() -> nn.Module:
    """Teacher for scikit-learn's digits, without its trained weights: 1 x 8 x 8 inputs, 10 classes."""
    return ResidualTeacher(in_channels=1, classes=10, widths=(16, 32, 64))


class ResidualTeacher(nn.Module):
    """Residual network of a stem, one block for each width, global average pooling and a linear classifier.

    A block that changes the width also halves the resolution.

    Args:
        in_channels: Channels of the images.
        classes: Number of logits.
        widths: Channels of each block; the first is also the width of the stem.
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
    """Convolution without bias, followed by batch norm."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(out_channels)
    )
