"""The layout of memory in which a teacher's network computes: channels_last, which is quicker, wherever it can."""

from contextlib import suppress
from dataclasses import replace

import torch
from torch import nn

from autokd.teachers.preparation import Preparation

__all__ = ["fitting_preparation"]

_PROBED = 2  # samples; with a single one, an axis of size 1 fits any layout


def fitting_preparation(network: nn.Module, preparation: Preparation, input_shape: tuple[int, ...]) -> Preparation:
    """The preparation, with contiguous inputs for a network that flattens its maps by `view`, which needs them.

    The weights of such a network are made contiguous, too. It is set to evaluation mode, and asked about two samples
    of zeros; what else it fails of is left to those who use it.

    Args:
        network: The teacher's network, on its device.
        preparation: Conversion of normalised samples to the network's inputs.
        input_shape: Shape of a sample of the data set.
    """
    if len(input_shape) != 3 or _takes_channels_last(network, preparation, input_shape):
        return preparation
    for parameter in network.parameters():
        parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)  # also strides of axes of size 1
    return replace(preparation, contiguous=True)


@torch.no_grad()
def _takes_channels_last(network: nn.Module, preparation: Preparation, input_shape: tuple[int, ...]) -> bool:
    parameter = next(network.parameters(), None)
    samples = torch.zeros(_PROBED, *input_shape, device=None if parameter is None else parameter.device)
    with suppress(NotImplementedError):  # an exported program is what it is
        network.eval()
    try:
        network(preparation(samples.contiguous(memory_format=torch.channels_last)))
    except Exception as error:  # a user's network can fail in any way
        return "view size is not compatible" not in str(error)
    return True
