"""The teacher of Tiny-ImageNet-20 that saw nothing but its training images: a network of the space `blocks`.

It is trained from the root of the repository, with the images, unpacked, in FOLDER:

    autokd teach tests/benchmarks/headline/tiny-imagenet-20.toml teachers --epochs 60 --set data.source=FOLDER

Then `teachers/teacher-60.safetensors` is what `run.py --tiny-teacher` wants.
"""

import numpy as np
import torch
from torch import nn

from search_spaces.architecture.format import Architecture
from search_spaces.design.budget import Budget
from search_spaces.networks.network import build
from search_spaces.spaces.blocks import Blocks

__all__ = ["tiny_imagenet_20", "tiny_imagenet_20_architecture"]

PARAMS = 3_000_000
STAGES = range(1, 5)


def tiny_imagenet_20() -> nn.Module:
    """The untrained teacher: 3 x 64 x 64 inputs, 20 classes. Initial weights follow torch's global generator."""
    return build(tiny_imagenet_20_architecture(), seed=int(torch.randint(2**62, ())))


def tiny_imagenet_20_architecture() -> Architecture:
    """Four stages of two basic blocks, as wide as 3 M parameters allow: 33, 66, 132 and 265 channels, 65 M MACs."""
    stages = {f"stage{stage}_{key}": value for stage in STAGES for key, value in (("block", "basic"), ("depth", 2))}
    ratios = {f"stage{stage}_ratio": 1.0 for stage in STAGES}
    space, rng = Blocks(head_ratio=0), np.random.default_rng(0)
    return space.sample(stages | ratios, Budget(params=PARAMS), (3, 64, 64), 20, rng)
