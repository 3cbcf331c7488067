import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from autokd.data.dataset import LABEL_LIMIT, Dataset, Split, describe, hold_out, numbered_classes
from autokd.errors import InputError


def numbered(n: int) -> Split:
    """Samples whose labels are their positions."""
    return Split(torch.arange(n, dtype=torch.uint8).reshape(n, 1, 1, 1), torch.arange(n))


def test_data_sets_of_the_same_samples_have_the_same_digest(make_dataset: Callable[..., Dataset]) -> None:
    assert make_dataset().digest == make_dataset().digest


@pytest.mark.parametrize("part", ["train", "validation", "test"])
@pytest.mark.parametrize("what", ["images", "labels"])
@pytest.mark.parametrize("form", [{}, {"shape": (6, 2), "dtype": torch.float32}], ids=["images", "signals"])
def test_the_digest_changes_with_any_pixel_or_label(make_dataset, form: dict[str, Any], part: str, what: str) -> None:
    dataset = make_dataset(**form)
    split = dataset.splits[part]
    values = getattr(split, what).clone()
    values.view(-1)[-1] = 0 if values.view(-1)[-1] else 1
    assert replace(dataset, **{part: replace(split, **{what: values})}).digest != dataset.digest


def test_the_digest_changes_with_the_split_of_the_same_samples(dataset: Dataset) -> None:
    assert replace(dataset, validation=dataset.test, test=dataset.validation).digest != dataset.digest


def test_the_digest_does_not_depend_on_the_memory_layout(dataset: Dataset) -> None:
    strided = Split(torch.cat([dataset.train.images] * 2, 3)[..., :1], torch.stack([dataset.train.labels] * 2, 1)[:, 0])
    assert not strided.labels.is_contiguous()
    assert replace(dataset, train=strided).digest == dataset.digest


def test_normalisation_is_the_mean_and_deviation_of_the_training_pixels(make_dataset: Callable[..., Dataset]) -> None:
    dataset = make_dataset(channels=3)
    pixels = dataset.train.images.numpy().astype(np.float64) / 255
    mean, deviation = dataset.normalisation
    assert mean == pytest.approx(tuple(pixels.mean((0, 1, 2))), abs=1e-12)
    assert deviation == pytest.approx(tuple(pixels.std((0, 1, 2))), abs=1e-12)


def test_a_constant_channel_is_not_divided_by_zero(dataset: Dataset) -> None:
    grey = Split(torch.full_like(dataset.train.images, 51), dataset.train.labels)
    assert replace(dataset, train=grey).normalisation == ((pytest.approx(0.2),), (1.0,))


@pytest.mark.parametrize("n", [0, 1, 30, 99])
def test_hold_out_partitions_the_samples(n: int) -> None:
    kept, held_out = hold_out(numbered(100), n)
    assert len(held_out) == n
    assert sorted(kept.labels.tolist() + held_out.labels.tolist()) == list(range(100))
    assert torch.equal(kept.images.flatten().long(), kept.labels)


def test_hold_out_is_deterministic_and_does_not_take_the_first_samples() -> None:
    first, again = hold_out(numbered(100), 30)[1], hold_out(numbered(100), 30)[1]
    assert torch.equal(first.labels, again.labels)
    assert first.labels.tolist() != list(range(30))


@pytest.mark.parametrize("n", [-1, 100])
def test_hold_out_leaves_at_least_one_sample(n: int) -> None:
    with pytest.raises(
        InputError, match=f"data: {n} of the 100 training samples cannot be held out .*: at most 99 can"
    ):
        hold_out(numbered(100), n)


def test_classes_are_numbered_up_to_the_highest_label_of_all_splits() -> None:
    empty = numbered(3).take(torch.arange(0))
    assert numbered_classes([numbered(2), numbered(4), empty], "mine") == ("0", "1", "2", "3")
    assert numbered_classes([empty], "mine") == ()


@pytest.mark.parametrize("label", [LABEL_LIMIT, 10**12])
def test_labels_that_are_identifiers_are_refused_before_classes_are_numbered(label: int) -> None:
    split = Split(numbered(3).images, torch.tensor([0, 1, label]))
    wanted = rf"^data mine: labels must be 0\.\.classes-1 and below 1,000,000, but the highest is {label:,}: number the"
    with pytest.raises(InputError, match=wanted):
        numbered_classes([numbered(3), split], "mine")


def test_a_subset_keeps_some_training_samples_and_the_other_splits(dataset: Dataset) -> None:
    subset = dataset.subset(10)
    assert (len(subset.train), subset.validation, subset.test) == (10, dataset.validation, dataset.test)
    assert dataset.subset(60).digest == dataset.digest
    with pytest.raises(InputError, match=r"data tiny: a subset must be 1\.\.60 samples, but got 61"):
        dataset.subset(61)


def test_input_shape_is_channels_first(make_dataset: Callable[..., Dataset]) -> None:
    dataset = make_dataset(channels=2, size=6)
    assert (dataset.input_shape, dataset.classes) == ((2, 6, 6), 3)


@pytest.mark.parametrize(
    ("shape", "input_shape", "words"),
    [((6, 5, 2), (2, 6, 5), "2 x 6 x 5 images"), ((6, 2), (2, 6), "2 x 6 signals"), ((6,), (6,), "vectors of 6")],
)
def test_the_kind_of_the_samples_follows_from_their_shape(make_dataset, shape, input_shape, words: str) -> None:
    dataset = make_dataset(shape=shape)
    assert dataset.input_shape == input_shape
    assert describe(dataset.input_shape) == words
    assert dataset.train.kind in words


@pytest.mark.parametrize("shape", [(6, 2), (6,)], ids=["signals", "vectors"])
def test_normalisation_of_floats_is_the_exact_mean_and_deviation_of_the_raw_values(make_dataset, shape) -> None:
    dataset = make_dataset(shape=shape, dtype=torch.float32)
    far = replace(dataset, train=replace(dataset.train, images=dataset.train.images + 1e6))
    for made in (dataset, far):
        channels = [channel.flatten().tolist() for channel in made.train.images.unbind(-1)]
        mean, deviation = made.normalisation
        assert mean == pytest.approx([statistics.mean(values) for values in channels], rel=1e-14)
        assert deviation == pytest.approx([statistics.pstdev(values) for values in channels], rel=1e-12)
        assert made.scale == 1


def test_normalisation_of_bytes_refers_to_values_up_to_one_for_every_feature(
    make_dataset: Callable[..., Dataset],
) -> None:
    dataset = make_dataset(shape=(6,))
    values = dataset.train.images.numpy() * dataset.scale
    mean, deviation = dataset.normalisation
    assert mean == pytest.approx(tuple(values.mean(0)), abs=1e-12)
    assert deviation == pytest.approx(tuple(values.std(0)), abs=1e-12)


@pytest.mark.parametrize("spread", [0.0, 1e-44], ids=["constant", "as good as constant"])
def test_a_feature_without_deviation_is_not_divided_by_zero(make_dataset, spread: float) -> None:
    dataset = make_dataset(shape=(6,), dtype=torch.float32)
    values = dataset.train.images.clone()
    values[:, 2] = torch.arange(60) % 2 * spread if spread else 0.1
    mean, deviation = replace(dataset, train=replace(dataset.train, images=values)).normalisation
    assert deviation[2] == 1
    assert mean[2] == pytest.approx(float(values[:, 2].double().mean()), rel=1e-15)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_samples_that_are_not_finite_are_counted_and_rejected(make_dataset, part: str, value: float) -> None:
    dataset = make_dataset(shape=(6, 2), dtype=torch.float32)
    split = dataset.splits[part]
    values = split.images.clone()
    values[3, 5, 1] = values[3, 0, 0] = values[4, 0, 0] = value
    message = f"data tiny: {part} signals must be finite, but 2 of {len(split)} hold NaN or infinity"
    with pytest.raises(InputError, match=message):
        replace(dataset, **{part: replace(split, images=values)})


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 3, 3, 1), torch.zeros(2).long(), "images must be uint8 .* but got torch.float32"),
        (torch.zeros(2).byte(), torch.zeros(2).long(), r"signals and vectors must be .* but got torch.uint8 of \(2,\)"),
        (torch.zeros(2, 3).double(), torch.zeros(2).long(), r"uint8 or float32 .* but got torch.float64 of \(2, 3\)"),
        (torch.zeros(2, 3, 0).byte(), torch.zeros(2).long(), r"samples must hold values, but got \(2, 3, 0\)"),
        (torch.zeros(2, 3, 4), torch.zeros(3).long(), r"2 signals need as many labels, but got \(3,\)"),
        (torch.zeros(2, 3, 3, 1).byte(), torch.zeros(3).long(), r"2 images need as many labels, but got \(3,\)"),
        (torch.zeros(2, 3, 3, 1).byte(), torch.zeros(2).int(), "labels must be int64, but got torch.int32"),
    ],
)
def test_a_split_rejects_other_tensors(images, labels, message) -> None:
    with pytest.raises(InputError, match=message):
        Split(images, labels)


def test_a_data_set_rejects_splits_of_different_shapes(dataset: Dataset, make_dataset: Callable[..., Dataset]) -> None:
    with pytest.raises(InputError, match="data tiny: the test split is empty"):
        replace(dataset, test=dataset.test.take(torch.arange(0)))
    with pytest.raises(InputError, match=r"validation images are \(9, 9, 1\), but training images are \(6, 6, 1\)"):
        replace(dataset, validation=make_dataset(size=9).validation)
    with pytest.raises(InputError, match=r"test vectors are \(4,\), but training images are \(6, 6, 1\) \(height"):
        replace(dataset, test=make_dataset(shape=(4,)).test)
    with pytest.raises(InputError, match=r"data tiny: the class name 'caf\\udce9' is no UTF-8: rename it\.$"):
        replace(dataset, class_names=("a", "caf\udce9", "c"))
    with pytest.raises(InputError, match=r"data tiny: there is one class, cat, but nothing to tell apart"):
        replace(dataset, class_names=("cat",))
    signed = Split(dataset.train.images, -(torch.arange(len(dataset.train)) % 2))
    with pytest.raises(InputError, match=r"train labels must be 0\.\.0, but got -1\.\.0"):
        replace(dataset, train=signed, class_names=("cat",))
    with pytest.raises(InputError, match=r"train labels must be 0\.\.1, but got 0\.\.2"):
        replace(dataset, class_names=("one", "two"))


def test_a_data_set_rejects_splits_of_two_types(make_dataset: Callable[..., Dataset]) -> None:
    bytes_, floats = (make_dataset(shape=(4,), dtype=dtype) for dtype in (torch.uint8, torch.float32))
    with pytest.raises(InputError, match=r"test vectors are torch.uint8, but training ones are torch.float32"):
        replace(floats, test=bytes_.test)
