from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from autokd.data.dataset import Dataset, Split, hold_out
from autokd.errors import InputError


def numbered(n: int) -> Split:
    """Samples whose label is their position."""
    return Split(torch.arange(n, dtype=torch.uint8).reshape(n, 1, 1, 1), torch.arange(n))


def test_two_data_sets_of_the_same_samples_have_one_digest(make_dataset: Callable[..., Dataset]):
    assert make_dataset().digest == make_dataset().digest


@pytest.mark.parametrize("part", ["train", "validation", "test"])
@pytest.mark.parametrize("what", ["images", "labels"])
def test_the_digest_changes_with_any_pixel_or_label(dataset: Dataset, part: str, what: str):
    split = dataset.splits[part]
    values = getattr(split, what).clone()
    values.view(-1)[-1] = 0 if values.view(-1)[-1] else 1
    assert replace(dataset, **{part: replace(split, **{what: values})}).digest != dataset.digest


def test_the_digest_changes_with_the_split_of_the_same_samples(dataset: Dataset):
    assert replace(dataset, validation=dataset.test, test=dataset.validation).digest != dataset.digest


def test_the_digest_is_of_the_values_and_not_of_their_layout(dataset: Dataset):
    strided = Split(torch.cat([dataset.train.images] * 2, 3)[..., :1], torch.stack([dataset.train.labels] * 2, 1)[:, 0])
    assert not strided.labels.is_contiguous()
    assert replace(dataset, train=strided).digest == dataset.digest


def test_normalisation_is_the_mean_and_deviation_of_the_training_pixels(make_dataset: Callable[..., Dataset]):
    dataset = make_dataset(channels=3)
    pixels = dataset.train.images.numpy().astype(np.float64) / 255
    mean, deviation = dataset.normalisation
    assert mean == pytest.approx(tuple(pixels.mean((0, 1, 2))), abs=1e-12)
    assert deviation == pytest.approx(tuple(pixels.std((0, 1, 2))), abs=1e-12)


def test_a_constant_channel_is_not_divided_by_zero(dataset: Dataset):
    grey = Split(torch.full_like(dataset.train.images, 51), dataset.train.labels)
    assert replace(dataset, train=grey).normalisation == ((pytest.approx(0.2),), (1.0,))


@pytest.mark.parametrize("n", [0, 1, 30, 99])
def test_hold_out_parts_the_samples(n: int):
    kept, held_out = hold_out(numbered(100), n)
    assert len(held_out) == n
    assert sorted(kept.labels.tolist() + held_out.labels.tolist()) == list(range(100))
    assert torch.equal(kept.images.flatten().long(), kept.labels)


def test_hold_out_always_takes_the_same_samples_and_not_the_first_ones():
    first, again = hold_out(numbered(100), 30)[1], hold_out(numbered(100), 30)[1]
    assert torch.equal(first.labels, again.labels)
    assert first.labels.tolist() != list(range(30))


@pytest.mark.parametrize("n", [-1, 100])
def test_hold_out_leaves_at_least_one_sample(n: int):
    with pytest.raises(InputError, match=rf"cannot hold out {n} of 100 samples: it must be 0\.\.99"):
        hold_out(numbered(100), n)


def test_a_subset_keeps_some_training_samples_and_the_other_splits(dataset: Dataset):
    subset = dataset.subset(10)
    assert (len(subset.train), subset.validation, subset.test) == (10, dataset.validation, dataset.test)
    assert dataset.subset(60).digest == dataset.digest
    with pytest.raises(InputError, match=r"data tiny: a subset must be 1\.\.60 samples, but got 61"):
        dataset.subset(61)


def test_input_shape_is_channels_first(make_dataset: Callable[..., Dataset]):
    dataset = make_dataset(channels=2, size=6)
    assert (dataset.input_shape, dataset.classes) == ((2, 6, 6), 3)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 3, 3, 1), torch.zeros(2).long(), "images must be uint8 .* but got torch.float32"),
        (torch.zeros(2, 3, 3).byte(), torch.zeros(2).long(), r"but got torch.uint8 of \(2, 3, 3\)"),
        (torch.zeros(2, 3, 3, 1).byte(), torch.zeros(3).long(), r"2 images need as many labels, but got \(3,\)"),
        (torch.zeros(2, 3, 3, 1).byte(), torch.zeros(2).int(), "labels must be int64, but got torch.int32"),
    ],
)
def test_a_split_rejects_other_tensors(images, labels, message):
    with pytest.raises(InputError, match=message):
        Split(images, labels)


def test_a_data_set_rejects_splits_that_do_not_fit(dataset: Dataset, make_dataset: Callable[..., Dataset]):
    with pytest.raises(InputError, match="data tiny: the test split is empty"):
        replace(dataset, test=dataset.test.take(torch.arange(0)))
    with pytest.raises(InputError, match=r"validation images are \(9, 9, 1\), but training images are \(6, 6, 1\)"):
        replace(dataset, validation=make_dataset(size=9).validation)
    with pytest.raises(InputError, match=r"train labels must be 0\.\.1, but are 0\.\.2"):
        replace(dataset, class_names=("one", "two"))
