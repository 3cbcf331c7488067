from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from autokd.config.teacher import TeacherConfig
from autokd.data.dataset import Dataset
from autokd.data.stream import normalise
from autokd.teachers.memory_format import fitting_preparation
from autokd.teachers.preparation import Preparation
from autokd.teachers.registry import teacher_of


class Flattening(nn.Module):
    """A network that flattens its maps by `view`, as many tutorials do, or by `flatten`."""

    def __init__(self, by_view: bool, channels: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution, self.classifier = nn.Conv2d(channels, 4, 3, padding=1), nn.Linear(4 * 36, 10)
        self.by_view = by_view

    def forward(self, images: Tensor) -> Tensor:
        maps = self.convolution(images)
        return self.classifier(maps.view(len(maps), -1) if self.by_view else maps.flatten(1))


@pytest.mark.parametrize("channels", [1, 2])
def test_a_network_that_flattens_by_view_teaches_like_one_that_flattens(
    make_dataset: Callable[..., Dataset], channels: int
) -> None:
    dataset = make_dataset(channels=channels)
    images = normalise(dataset.train.images, dataset.normalisation)
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        Flattening(True, channels).to(memory_format=torch.channels_last)(images)
    by_view, by_flatten = (
        teacher_of(
            Flattening(by_view, channels).to(memory_format=torch.channels_last), "name", TeacherConfig(), dataset
        )
        for by_view in (True, False)
    )
    assert (by_view.preparation, by_flatten.preparation) == (Preparation(contiguous=True), Preparation())
    torch.testing.assert_close(by_view(images), by_flatten(images))
    assert by_view.digest == by_flatten.digest


def test_a_network_that_fails_of_something_else_is_left_as_it_is() -> None:
    network = Flattening(by_view=False, channels=2).to(memory_format=torch.channels_last)
    assert fitting_preparation(network, Preparation(), (3, 6, 6)) == Preparation()
    assert not network.convolution.weight.is_contiguous()


def test_vectors_have_no_layout_to_choose() -> None:
    assert fitting_preparation(nn.Linear(3, 2), Preparation(), (3,)) == Preparation()
