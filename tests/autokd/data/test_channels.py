from collections.abc import Callable

import pytest
import torch
from torch import nn

from autokd.data.channels import SomeChannels, check_channels, moments_of, of_samples, of_split, shape_of
from autokd.data.dataset import Dataset
from autokd.data.stream import normalise
from autokd.errors import InputError


@pytest.mark.parametrize("shape", [(6, 6, 3), (12, 3), (3,)])
def test_channels_are_the_same_before_and_after_normalisation(
    make_dataset: Callable[..., Dataset], shape: tuple[int, ...]
) -> None:
    dataset = make_dataset(shape=shape)
    split, moments = of_split(dataset.train, (2, 0)), moments_of(dataset.normalisation, (2, 0))
    first = normalise(split.images, moments)
    assert torch.equal(first, of_samples(normalise(dataset.train.images, dataset.normalisation), (2, 0)))
    assert first.shape[1:] == shape_of(dataset.input_shape, (2, 0))


def test_without_channels_everything_stays(make_dataset: Callable[..., Dataset]) -> None:
    dataset = make_dataset(channels=3)
    assert of_split(dataset.train, None) is dataset.train
    assert moments_of(dataset.normalisation, None) == dataset.normalisation
    assert shape_of((3, 6, 6), None) == (3, 6, 6)


def test_images_stay_channels_last() -> None:
    images = torch.zeros(2, 3, 5, 4).contiguous(memory_format=torch.channels_last)
    assert of_samples(images, (1, 2)).is_contiguous(memory_format=torch.channels_last)


def test_a_network_may_get_some_channels_alone() -> None:
    network = SomeChannels(nn.Flatten(), (1,))
    assert network(torch.arange(12.0).view(2, 3, 2)).tolist() == [[2, 3], [8, 9]]
    assert network.inner_names(["network.0", "network.block.1"]) == ["0", "block.1"]


def test_channels_that_the_samples_lack_are_refused(make_dataset: Callable[..., Dataset]) -> None:
    dataset = make_dataset(channels=3)
    check_channels((0, 2), dataset, "data.student_channels")
    with pytest.raises(InputError, match=r"data.student_channels names channel 3, but .* whose channels are 0..2"):
        check_channels((3,), dataset, "data.student_channels")
