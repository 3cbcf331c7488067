import pytest
import torch

from search_spaces.networks.modules import ChannelShuffle


@pytest.mark.parametrize("shape", [(2, 12), (2, 12, 5), (2, 12, 3, 4)])
def test_channel_shuffle_reads_across_the_groups(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    order = [group * 4 + number for number in range(4) for group in range(3)]
    assert torch.equal(ChannelShuffle(3)(x), x[:, order])


def test_channel_shuffle_keeps_channels_last_with_the_same_values() -> None:
    x = torch.randn(2, 12, 3, 4)
    found = ChannelShuffle(3)(x.to(memory_format=torch.channels_last))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found, ChannelShuffle(3)(x))
