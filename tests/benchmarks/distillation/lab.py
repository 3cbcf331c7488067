"""Distillation between modalities: a teacher of lightness teaches a student of colour, on Tiny-ImageNet-20 in Lab.

Tian et al. 2020, https://arxiv.org/abs/1910.10699, transfer from the channel L to the channels ab, there on STL-10 and
with their contrastive loss without labels. With the images, unpacked, in FOLDER, from the root of the repository:

    export TINY_IMAGENET_20=FOLDER
    autokd teach tests/benchmarks/distillation/lab.toml WEIGHTS --epochs 40
    autokd search tests/benchmarks/distillation/lab.toml --set teacher.weights=WEIGHTS/teacher-40.safetensors
"""

import os

import numpy as np
import torch
from torch import Tensor, nn

from autokd.config.schema import DataConfig
from autokd.data.dataset import Dataset, Split
from autokd.data.registry import load_data
from search_spaces.design.budget import Budget
from search_spaces.networks.network import build
from search_spaces.spaces.blocks import Blocks

__all__ = ["lab", "lightness_teacher", "tiny_imagenet_20"]

XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
WHITE = (0.95047, 1.0, 1.08883)  # D65
PIECE = 500  # images that are converted at a time
PARAMS = 1_000_000  # of the teacher


def lab(images: Tensor) -> Tensor:
    """CIE Lab of sRGB images under D65, uint8: L times 2.55, and a and b plus 128, as OpenCV stores them.

    Args:
        images: uint8, `n x height x width x 3`.
    """
    values = images.double() / 255
    linear = torch.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    xyz = linear @ torch.tensor(XYZ, dtype=torch.float64).T / torch.tensor(WHITE, dtype=torch.float64)
    f = torch.where(xyz > (6 / 29) ** 3, xyz.clamp_min(1e-9) ** (1 / 3), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f.unbind(-1)
    channels = torch.stack([2.55 * (116 * y - 16), 500 * (x - y) + 128, 200 * (y - z) + 128], -1)
    return channels.round().clamp(0, 255).to(torch.uint8)


def tiny_imagenet_20() -> Dataset:
    """The images of the folder that the variable TINY_IMAGENET_20 names, in Lab."""
    dataset = load_data(DataConfig(source=os.environ["TINY_IMAGENET_20"]))
    train, validation, test = map(_converted, (dataset.train, dataset.validation, dataset.test))
    return Dataset(f"{dataset.name} in Lab", train, validation, test, dataset.class_names)


def lightness_teacher() -> nn.Module:
    """Four stages of two basic blocks, as wide as 1 M parameters allow: 1 x 64 x 64 inputs, 20 classes."""
    stages = {f"stage{k}_{key}": value for k in range(1, 5) for key, value in (("block", "basic"), ("depth", 2))}
    ratios = {f"stage{k}_ratio": 1.0 for k in range(1, 5)}
    space, rng = Blocks(head_ratio=0), np.random.default_rng(0)
    architecture = space.sample(stages | ratios, Budget(params=PARAMS), (1, 64, 64), 20, rng)
    return build(architecture, seed=int(torch.randint(2**62, ())))


def _converted(split: Split) -> Split:
    return Split(torch.cat([lab(images) for images in split.images.split(PIECE)]), split.labels)
