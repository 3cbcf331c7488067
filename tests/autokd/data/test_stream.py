from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch

from autokd.data.augmentation import Augmentation, augment
from autokd.data.dataset import Dataset
from autokd.data.stream import Batch, TrainingStream, evaluation_batches, normalise
from autokd.errors import InputError

CPU = torch.device("cpu")
SHIFT = Augmentation(shift=1)


def stream_of(dataset: Dataset, batch_size: int = 16, views: int = 2, seed: int = 0) -> TrainingStream:
    return TrainingStream(dataset, SHIFT, batch_size, views, seed, CPU)


def whole_epoch(stream: TrainingStream, epoch: int) -> list[Batch]:
    return list(stream.batches(epoch * stream.steps_per_epoch, (epoch + 1) * stream.steps_per_epoch))


def test_an_epoch_has_full_batches_of_different_samples(dataset: Dataset) -> None:
    stream = stream_of(dataset)
    assert stream.steps_per_epoch == 3  # of 60 / 16
    indices = torch.cat([batch.indices for batch in whole_epoch(stream, 0)])
    assert len(indices.unique()) == 48


def test_an_epoch_of_batches_that_fit_is_a_permutation(dataset: Dataset) -> None:
    stream = stream_of(dataset, batch_size=20)
    for epoch in range(3):
        indices = torch.cat([batch.indices for batch in whole_epoch(stream, epoch)])
        assert sorted(indices.tolist()) == list(range(60))


def test_each_epoch_and_each_seed_has_an_order_of_its_own(dataset: Dataset) -> None:
    orders = {
        tuple(torch.cat([b.indices for b in whole_epoch(stream_of(dataset, 20, seed=seed), epoch)]).tolist())
        for seed in range(2)
        for epoch in range(3)
    }
    assert len(orders) == 6


@pytest.mark.parametrize("split", range(1, 6))
def test_batches_do_not_depend_on_where_the_steps_are_split(dataset: Dataset, split: int) -> None:
    def steps() -> Iterator[Batch]:
        stream = stream_of(dataset, batch_size=10)
        yield from stream.batches(6, 6 + split)
        yield from stream_of(dataset, batch_size=10).batches(6 + split, 12)

    for found, expected in zip(steps(), stream_of(dataset, batch_size=10).batches(6, 12), strict=True):
        assert torch.equal(found.images, expected.images)
        assert torch.equal(found.indices, expected.indices)


def test_epochs_cycle_through_the_views(dataset: Dataset) -> None:
    stream = stream_of(dataset, views=3)
    assert [whole_epoch(stream, epoch)[0].view for epoch in range(5)] == [0, 1, 2, 0, 1]


def test_a_batch_is_the_view_of_its_samples_normalised(dataset: Dataset) -> None:
    stream = stream_of(dataset, seed=5)
    batch = whole_epoch(stream, 1)[2]
    view = augment(dataset.train.images[batch.indices], batch.indices, SHIFT, 5, batch.view)
    assert torch.equal(batch.images, normalise(view, dataset.normalisation))
    assert torch.equal(batch.labels, dataset.train.labels[batch.indices])


def test_fewer_samples_than_a_batch_make_one_batch(dataset: Dataset) -> None:
    stream = stream_of(dataset, batch_size=1000)
    assert (stream.batch_size, stream.steps_per_epoch) == (60, 1)


def test_normalise_is_the_closed_form_and_channels_last(make_dataset: Callable[..., Dataset]) -> None:
    dataset = make_dataset(channels=3)
    images = dataset.train.images
    found = normalise(images, dataset.normalisation)
    mean, deviation = (torch.tensor(values, dtype=torch.float64) for values in dataset.normalisation)
    expected = ((images.double() / 255 - mean) / deviation).permute(0, 3, 1, 2)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(6, 2), (6,)], ids=["signals", "vectors"])
def test_normalise_is_the_closed_form_for_every_kind_and_does_not_change_the_samples(
    make_dataset, shape, dtype
) -> None:
    dataset = make_dataset(shape=shape, dtype=dtype)
    before = dataset.train.images.clone()
    found = normalise(dataset.train.images, dataset.normalisation)
    mean, deviation = (torch.tensor(values, dtype=torch.float64) for values in dataset.normalisation)
    expected = (before.double() * dataset.scale - mean) / deviation
    torch.testing.assert_close(found.double(), expected.movedim(-1, 1), rtol=0, atol=1e-5)
    assert found.shape == (60, *dataset.input_shape)
    assert found.is_contiguous()
    assert torch.equal(dataset.train.images, before)


def test_features_far_from_zero_keep_their_differences(make_dataset: Callable[..., Dataset]) -> None:
    dataset = make_dataset(shape=(6,), dtype=torch.float32)
    values = (dataset.train.images + 1e6).round()
    far = replace(dataset, train=replace(dataset.train, images=values))
    found = normalise(values, far.normalisation)
    expected = (values - values[0]) / torch.tensor(far.normalisation[1])
    torch.testing.assert_close(found - found[0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(6, 2), (6,)], ids=["signals", "vectors"])
def test_batches_of_other_kinds_are_the_samples_themselves_in_every_view(make_dataset, shape) -> None:
    dataset = make_dataset(shape=shape, dtype=torch.float32)
    stream = TrainingStream(dataset, Augmentation(), 16, 2, 0, CPU)
    whole = normalise(dataset.train.images, dataset.normalisation)
    for batch in (*whole_epoch(stream, 0), *whole_epoch(stream, 1)):
        assert torch.equal(batch.images, whole[batch.indices])
        assert torch.equal(batch.labels, dataset.train.labels[batch.indices])


@pytest.mark.parametrize("augmentation", [SHIFT, Augmentation(flip=True), Augmentation(cutout=2)], ids=str)
def test_only_images_are_augmented(make_dataset: Callable[..., Dataset], augmentation: Augmentation) -> None:
    message = r"^training.augmentation is for images, but the data are 2 x 6 signals, which allow none"
    with pytest.raises(InputError, match=message):
        TrainingStream(make_dataset(shape=(6, 2)), augmentation, 16, 2, 0, CPU)


def test_evaluation_has_all_samples_in_order(dataset: Dataset) -> None:
    batches = list(evaluation_batches(dataset.validation, dataset.normalisation, 8))
    assert [len(batch) for batch in batches] == [8, 8, 5]
    assert torch.equal(torch.cat(batches), normalise(dataset.validation.images, dataset.normalisation))
