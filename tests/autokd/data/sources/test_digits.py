import sys

import pytest
import torch
from sklearn.datasets import load_digits

from autokd.config.schema import DataConfig
from autokd.data.registry import load_data
from autokd.data.sources.digits import digits
from autokd.errors import InputError


def test_every_digit_is_in_one_split() -> None:
    dataset = digits(validation=300)
    assert {name: len(split) for name, split in dataset.splits.items()} == {
        "train": 1137,
        "validation": 300,
        "test": 360,
    }
    total = sum(split.labels.bincount(minlength=10) for split in dataset.splits.values())
    assert total.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # scikit-learn's own description
    assert dataset.input_shape == (1, 8, 8)


def test_pixels_are_scikit_learns_values_scaled_to_bytes() -> None:
    dataset = digits()
    images = {tuple(image.flatten().tolist()) for split in dataset.splits.values() for image in split.images}
    original = {tuple(round(value * 255 / 16) for value in image) for image in load_digits().data}
    assert images == original


def test_digit_vectors_are_the_digits_as_64_features() -> None:
    images, vectors = digits(), load_data(DataConfig(source="autokd.data.sources.digits:digit_vectors"))
    assert vectors.input_shape == (64,)
    for name, split in vectors.splits.items():
        assert torch.equal(split.images.reshape(-1, 8, 8, 1), images.splits[name].images)
        assert torch.equal(split.labels, images.splits[name].labels)


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(InputError, match=r"\"digits\" needs scikit-learn: pip install 'autokd\[digits\]'"):
        digits()
