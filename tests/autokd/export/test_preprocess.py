from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autokd.data.dataset import Dataset
from autokd.data.stream import normalise
from autokd.errors import InputError
from autokd.export.module import StudentModule
from autokd.export.preprocess import preprocess_source

AXES = "x height x width.", "x length.", "x features."


def written(dataset: Dataset) -> Callable[[Tensor], Tensor]:
    """The function `preprocess` that is written for samples of a data set."""
    module: dict[str, Any] = {}
    exec(f"from torch import Tensor\n{preprocess_source(dataset.train, dataset.normalisation)}", module)
    return module["preprocess"]


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((6, 6, 3), torch.uint8),
        ((6, 2), torch.uint8),
        ((6, 2), torch.float32),
        ((6,), torch.uint8),
        ((6,), torch.float32),
    ],
)
def test_the_written_preprocess_does_what_training_did_bit_for_bit(make_dataset, shape, dtype) -> None:
    dataset = make_dataset(shape=shape, dtype=dtype)
    preprocess = written(dataset)
    found = preprocess(dataset.train.images.movedim(-1, 1))
    assert torch.equal(found, normalise(dataset.train.images, dataset.normalisation))
    assert str(preprocess.__doc__).endswith(tuple(AXES))


def test_samples_that_were_scaled_before_are_refused_as_by_the_module(make_dataset) -> None:
    dataset = make_dataset(shape=(6, 6, 3), dtype=torch.uint8)
    images = dataset.train.images.movedim(-1, 1)
    module = StudentModule(nn.Identity(), dataset.normalisation, 3, is_float=False)
    for preprocess, error in ((written(dataset), TypeError), (module, InputError)):
        with pytest.raises(error, match=r"takes uint8 \w+ as in the data set, but got torch.float32"):
            preprocess(images / 255)


def test_chosen_channels_are_named(make_dataset) -> None:
    dataset = make_dataset(shape=(6, 6, 3), dtype=torch.uint8)
    source = preprocess_source(dataset.train, dataset.normalisation, [2, 0, 1])
    assert "batch x channels x height x width: channels 2, 0, 1 of the data, in this order." in source
