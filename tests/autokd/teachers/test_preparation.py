from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from autokd.config.schema import TeacherConfig
from autokd.data.augmentation import Augmentation, augment
from autokd.data.dataset import Dataset
from autokd.data.stream import TrainingStream, normalise
from autokd.errors import InputError
from autokd.teachers.preparation import Preparation, denormalise, preparation_of


def images(n: int = 3, size: int = 8) -> Tensor:
    return torch.rand(n, 2, size, size, generator=torch.Generator().manual_seed(0))


def test_by_default_the_teacher_gets_what_the_student_gets() -> None:
    batch = images()
    assert Preparation()(batch) is batch
    assert preparation_of(TeacherConfig(factory="m:f"), None) == Preparation()


def test_denormalising_gives_the_values_of_bytes_up_to_float_rounding() -> None:
    every_byte = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(1, 16, 16, 3)
    moments = (0.01, 0.5, 0.99), (0.003, 0.25, 1.0)
    found = denormalise(normalise(every_byte, moments), moments)
    assert (found - every_byte.permute(0, 3, 1, 2).double() / 255).abs().max() < 3e-7


@pytest.mark.parametrize("shape", [(6, 2), (6,)], ids=["signals", "vectors"])
def test_denormalising_gives_raw_values_of_float_samples(make_dataset: Callable[..., Dataset], shape) -> None:
    dataset = make_dataset(shape=shape, dtype=torch.float32)
    raw = dataset.train.images
    found = denormalise(normalise(raw, dataset.normalisation), dataset.normalisation)
    torch.testing.assert_close(found, raw.movedim(-1, 1), rtol=1e-6, atol=1e-6)


def test_the_teacher_sees_the_students_augmented_view(dataset: Dataset) -> None:
    augmentation, indices = Augmentation(shift=2, flip=True, cutout=3), torch.arange(20)
    stream = TrainingStream(dataset, augmentation, 20, 3, 7, torch.device("cpu"))
    prepared = Preparation(dataset.normalisation)(stream.batch(indices, 2).images)
    view = augment(dataset.train.images[indices], indices, augmentation, 7, 2)
    torch.testing.assert_close(prepared * 255, view.permute(0, 3, 1, 2).float(), rtol=0, atol=1e-4)


def test_mean_and_deviation_are_of_values_between_zero_and_one(dataset: Dataset) -> None:
    config = TeacherConfig(factory="m:f", mean=(0.485,), deviation=(0.229,))
    student = normalise(dataset.validation.images, dataset.normalisation)
    pixels = dataset.validation.images.permute(0, 3, 1, 2).double()
    prepared = preparation_of(config, dataset)(student)
    torch.testing.assert_close(prepared.double(), (pixels / 255 - 0.485) / 0.229, rtol=0, atol=3e-6)


def test_the_batch_of_the_student_is_left_alone(dataset: Dataset) -> None:
    student = normalise(dataset.validation.images, dataset.normalisation)
    before = student.clone()
    preparation_of(TeacherConfig(factory="m:f", mean=(0.5,), deviation=(2.0,)), dataset)(student)
    assert torch.equal(student, before)


def test_halving_is_bilinear_with_antialias() -> None:
    batch = images().double()
    weights = torch.tensor([1, 3, 3, 1], dtype=torch.float64) / 8  # the triangle filter, twice as wide
    inner = torch.einsum("ncij,i,j->nc", batch[:, :, 3:7, 1:5], weights, weights)
    torch.testing.assert_close(Preparation(resize=(4, 4))(batch)[:, :, 2, 1], inner)


def test_resize_means_height_and_width() -> None:
    assert Preparation(resize=(5, 9))(images()).shape == (3, 2, 5, 9)
    assert TeacherConfig.model_validate({"factory": "m:f", "resize": 160}).resize == (160, 160)


def test_channels_come_before_resize_and_normalisation(make_dataset: Callable[..., Dataset]) -> None:
    dataset = make_dataset(channels=3)
    config = TeacherConfig(factory="m:f", channels=(2, 0), resize=(3, 3), mean=(0.1, 0.2), deviation=(0.5, 0.25))
    found = preparation_of(config, dataset)(normalise(dataset.train.images, dataset.normalisation))
    bytes_of_two = dataset.train.images[..., [2, 0]].movedim(-1, 1).float() / 255
    resized = torch.nn.functional.interpolate(bytes_of_two, (3, 3), mode="bilinear", antialias=True)
    moments = torch.tensor([0.1, 0.2]).view(2, 1, 1), torch.tensor([0.5, 0.25]).view(2, 1, 1)
    torch.testing.assert_close(found, (resized - moments[0]) / moments[1], rtol=0, atol=1e-5)
    assert preparation_of(config, dataset).values((3, 6, 6)) == 2 * 9


def test_one_number_is_the_mean_or_deviation_of_all_channels(make_dataset: Callable[..., Dataset]) -> None:
    dataset = make_dataset(channels=3)
    batch = normalise(dataset.train.images, dataset.normalisation)
    each, one, beside_several = (
        preparation_of(TeacherConfig.model_validate({"factory": "m:f"} | settings), dataset)(batch)
        for settings in (
            {"mean": [0.5] * 3, "deviation": [0.25] * 3},
            {"mean": 0.5, "deviation": 0.25},
            {"mean": [0.5] * 3, "deviation": 0.25},
        )
    )
    assert torch.equal(one, each)
    assert torch.equal(beside_several, each)


def test_channels_that_the_samples_lack_are_refused(make_dataset: Callable[..., Dataset]) -> None:
    with pytest.raises(InputError, match=r"teacher.channels names channel 3"):
        preparation_of(TeacherConfig(factory="m:f", channels=(3,)), make_dataset(channels=3))


def test_a_function_comes_after_the_resize_and_may_return_anything(dataset: Dataset, config) -> None:
    preparation = preparation_of(config(preprocess="my_teachers_for_tests:doubled", resize=12), dataset)
    prepared = preparation(normalise(dataset.validation.images, dataset.normalisation))
    assert prepared.shape == (21, 1, 12, 12)
    pixels = dataset.validation.images.permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(prepared, 2 * Preparation(resize=(12, 12))(pixels))
    assert Preparation(function=lambda batch: [batch])(images())[0].shape == (3, 2, 8, 8)


def test_values_are_those_of_a_resized_sample() -> None:
    assert Preparation().values((3, 6, 8)) == 144
    assert Preparation(resize=(160, 200)).values((3, 6, 8)) == 96_000
    assert Preparation().values((7,)) == 7


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((6,), {"resize": 8}, r"teacher.resize is for images, but the data are vectors of 6\.$"),
        (
            (6, 6, 1),
            {"mean": [0, 0, 0], "deviation": [1, 1, 1]},
            "have 3 values, but the data are 1 x 6 x 6 images; teacher.ch",
        ),
        ((6, 6, 1), {"preprocess": "my_teachers_for_tests:no_function"}, "must be a function, not int"),
        (
            (6, 6, 1),
            {"preprocess": "my_teachers_for_tests:double"},
            "teacher.preprocess: .* the nearest known is 'doubled'",
        ),
    ],
)
def test_what_does_not_fit_the_samples_is_refused(make_dataset, config, shape, settings, message: str) -> None:
    with pytest.raises(InputError, match=message):
        preparation_of(config(**settings), make_dataset(shape=shape))


def test_an_input_of_its_own_needs_the_data() -> None:
    with pytest.raises(ValueError, match="needs the data set"):
        preparation_of(TeacherConfig(factory="m:f", mean=(0.5,), deviation=(0.5,)), None)
