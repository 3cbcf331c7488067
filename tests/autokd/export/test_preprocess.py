from typing import Any

import pytest
import torch

from autokd.data.stream import normalise
from autokd.export.preprocess import preprocess_source

AXES = "x height x width.", "x length.", "x features."


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
    module: dict[str, Any] = {}
    exec(f"from torch import Tensor\n{preprocess_source(dataset.train, dataset.normalisation)}", module)
    found = module["preprocess"](dataset.train.images.movedim(-1, 1))
    assert torch.equal(found, normalise(dataset.train.images, dataset.normalisation))
    assert module["preprocess"].__doc__.endswith(tuple(AXES))


def test_chosen_channels_are_named(make_dataset) -> None:
    dataset = make_dataset(shape=(6, 6, 3), dtype=torch.uint8)
    source = preprocess_source(dataset.train, dataset.normalisation, [2, 0, 1])
    assert "batch x channels x height x width: channels 2, 0, 1 of the data, in this order." in source
