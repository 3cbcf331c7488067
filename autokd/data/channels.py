"""Channels of samples: the student, or the teacher, may see only some of them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from autokd.data.dataset import Dataset, Split, describe
from autokd.errors import InputError

__all__ = ["SomeChannels", "check_channels", "moments_of", "of_samples", "of_split", "shape_of"]

Channels = Sequence[int] | None  # indices, counted from 0; None for all
Moments = tuple[tuple[float, ...], tuple[float, ...]]


def check_channels(channels: Channels, dataset: Dataset, key: str) -> None:
    """Check that samples have the channels.

    Args:
        channels: Indices of channels, or of features of vectors.
        dataset: The data set.
        key: Key of the configuration, for the message.

    Raises:
        InputError: If they do not.
    """
    n = dataset.input_shape[0]
    if channels is not None and max(channels) >= n:
        raise InputError(
            f"{key} names channel {max(channels)}, but the data are {describe(dataset.input_shape)}, whose channels "
            f"are 0..{n - 1}."
        )


def _chosen(values: Sequence[float], channels: Channels) -> tuple[float, ...]:
    """Values of these channels, from one value for each channel of the data."""
    return tuple(values) if channels is None else tuple(values[channel] for channel in channels)


def moments_of(normalisation: Moments, channels: Channels) -> Moments:
    """Mean and deviation of these channels."""
    mean, deviation = normalisation
    return _chosen(mean, channels), _chosen(deviation, channels)


def shape_of(input_shape: tuple[int, ...], channels: Channels) -> tuple[int, ...]:
    """Shape of a sample with only these channels."""
    return input_shape if channels is None else (len(channels), *input_shape[1:])


def of_samples(samples: Tensor, channels: Channels) -> Tensor:
    """Only these channels of a batch, `batch x channels` or more axes; images stay channels_last."""
    if channels is None:
        return samples
    some = samples[:, list(channels)]
    return some.contiguous(memory_format=torch.channels_last) if some.ndim == 4 else some.contiguous()


def of_split(split: Split, channels: Channels) -> Split:
    """Only these channels of a split, in memory."""
    return split if channels is None else Split(split.images[..., list(channels)].contiguous(), split.labels)


class SomeChannels(nn.Module):
    """A network that gets all channels of the samples and passes on only some.

    Args:
        network: The network.
        channels: The channels that it takes; all by default.
    """

    def __init__(self, network: nn.Module, channels: Channels) -> None:
        super().__init__()
        self.network = network
        self._channels = channels

    def forward(self, samples: Tensor) -> Tensor:
        """Outputs of the network."""
        outputs: Tensor = self.network(of_samples(samples, self._channels))
        return outputs

    def inner_names(self, names: Sequence[str]) -> list[str]:
        """Names within the network of modules that are named as submodules of this one."""
        return [name.removeprefix("network.") for name in names]
