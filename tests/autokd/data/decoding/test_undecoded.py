from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from autokd.data.dataset import Dataset
from autokd.data.decoding.decode import decode
from autokd.data.decoding.undecoded import from_folder, from_map_style
from autokd.data.sources.arrays import from_arrays
from autokd.errors import InputError


def decoded(path: Path, size: int | None = None) -> Dataset:
    return decode(from_folder(path, size))


def paint(path: Path, value: int | tuple[int, int, int], size: tuple[int, int] = (4, 3), mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of grey images, with validation and test of their own; class b has none in val."""
    for number in range(3):
        paint(tmp_path / "train" / "b" / f"{number}.png", 10 + number)
        paint(tmp_path / "train" / "a" / "deeper" / f"{number}.png", 100 + number)
    paint(tmp_path / "val" / "a" / "0.png", 200)
    paint(tmp_path / "test" / "a" / "0.png", 220)
    paint(tmp_path / "test" / "b" / "0.bmp", 30)
    return tmp_path


def test_a_folder_of_grey_images_has_one_channel_and_sorted_classes(folder: Path) -> None:
    dataset = decoded(folder)
    assert (dataset.class_names, dataset.input_shape) == (("a", "b"), (1, 3, 4))
    assert dataset.train.images[:, 0, 0, 0].tolist() == [100, 101, 102, 10, 11, 12]
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert (dataset.validation.labels.tolist(), dataset.test.labels.tolist()) == ([0], [0, 1])


def test_colour_in_the_first_image_makes_all_colour(folder: Path) -> None:
    paint(folder / "train" / "a" / "0.png", (1, 2, 3), mode="RGB")
    dataset = decoded(folder)
    assert dataset.input_shape == (3, 3, 4)
    assert dataset.train.images[0, 0, 0].tolist() == [1, 2, 3]
    assert dataset.test.images[1, 0, 0].tolist() == [30, 30, 30]


def test_all_images_get_the_size_that_is_asked_for_or_the_first_ones(folder: Path) -> None:
    paint(folder / "train" / "b" / "9.png", 50, size=(9, 9))
    assert decoded(folder).input_shape == (1, 3, 4)
    dataset = decoded(folder, size=6)
    assert dataset.input_shape == (1, 6, 6)
    assert dataset.train.images[-1].unique().tolist() == [50]  # a plain image stays so


def test_hidden_folders_are_no_classes(folder: Path) -> None:
    paint(folder / "train" / ".thumbnails" / "0.png", 1)
    assert decoded(folder).classes == 2


def test_classes_that_training_lacks_are_named(folder: Path) -> None:
    paint(folder / "test" / "c" / "0.png", 1)
    with pytest.raises(InputError, match="test/ has classes that train/ lacks: c"):
        decoded(folder)


@pytest.mark.parametrize("name", ["train/a/deeper/0.png", "train/b/2.png"])
def test_an_image_that_cannot_be_read_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:20])
    with pytest.raises(InputError, match=f"{name} is not a readable image"):
        decoded(folder)


def test_images_of_16_bits_are_refused_rather_than_clipped(folder: Path) -> None:
    Image.fromarray(np.full((3, 4), 40_000, np.uint16)).save(folder / "train" / "b" / "2.png")
    with pytest.raises(InputError, match=r"2.png has more than 8 bits a channel"):
        decoded(folder)


def test_folders_without_images_are_named(folder: Path, tmp_path: Path) -> None:
    for file in (folder / "val" / "a").iterdir():
        file.unlink()
    with pytest.raises(InputError, match=r"no image \(.*\) of any of the 2 classes under val/"):
        decoded(folder)
    (tmp_path / "empty" / "train" / "a").mkdir(parents=True)
    with pytest.raises(InputError, match=r"no image \(.bmp, .*\) of any of the 1 classes under train/"):
        decoded(tmp_path / "empty")
    with pytest.raises(InputError, match="needs a folder `train`"):
        decoded(tmp_path / "nowhere")


class Records:
    """Behaves as a Hugging Face `Dataset` of images."""

    features: ClassVar[dict[str, Any]] = {"label": SimpleNamespace(names=["cat", "dog"])}

    def __init__(self, n: int, key: str = "image") -> None:
        self.n, self.key = n, key

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {self.key: Image.new("RGB", (5, 4), (index, 2, 3)), "label": index % 2}


class Pairs:
    """Behaves as a map-style `torch.utils.data.Dataset` of the samples that it is given."""

    def __init__(self, samples: list[Any]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.samples[index]


@pytest.mark.parametrize("key", ["image", "img"])
def test_records_with_images_and_labels_are_a_data_set(key: str) -> None:
    dataset = decode(from_map_style({"train": Records(20, key), "val": Records(4, key)}, "pets"))
    assert (dataset.class_names, dataset.input_shape) == (("cat", "dog"), (3, 4, 5))
    assert [len(split) for split in dataset.splits.values()] == [18, 4, 2]
    assert dataset.validation.images[:, 3, 4].tolist() == [[index, 2, 3] for index in range(4)]
    assert torch.equal(dataset.train.images[:, 0, 0, 0] % 2, dataset.train.labels)


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy, Image.fromarray], ids=["array", "tensor", "Pillow"])
@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 3)])
def test_pairs_of_image_and_label_are_a_data_set_whatever_the_image_is(make: Any, shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, *shape), dtype=np.uint8)
    pairs = Pairs([(make(image), np.int64(k % 3)) for k, image in enumerate(images)])
    dataset = decode(from_map_style({"train": pairs, "validation": pairs, "test": pairs}, "mine"))
    assert np.array_equal(dataset.train.images.numpy(), images.reshape(6, 3, 4, -1))
    assert dataset.train.labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_splits_and_subsets_of_undecoded_images_are_those_of_arrays() -> None:
    images = np.arange(50, dtype=np.uint8).reshape(50, 1, 1)
    pairs = Pairs([(image, k % 3) for k, image in enumerate(images)])
    expected = from_arrays({"train_images": images, "train_labels": np.arange(50) % 3}, "mine", 7).subset(20)
    assert decode(from_map_style({"train": pairs}, "mine"), validation=7, subset=20).digest == expected.digest


GREY = np.zeros((2, 2), np.uint8)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([(GREY,)], "sample 0 must be a uint8 or Pillow image and its label: not enough values"),
        ([(GREY / 2, 0)], r"sample 0 must be .*: the image is ndarray of float64, \(2, 2\)"),
        ([{"pixels": GREY, "label": 1}], "it has pixels, label, but needs image .or img. and label"),
        ([(GREY, 0), (GREY, None)], "sample 1 must be a uint8 or Pillow image and its label: int"),
        ([(np.zeros((2, 2, 4), np.uint8), 0), (np.zeros((3, 2, 4), np.uint8), 0)], "sample 1: an image of 4 channels"),
        ([(Image.new("I;16", (2, 2)), 0)], "more than 8 bits a channel"),
    ],
)
def test_samples_that_are_no_labelled_images_are_named(samples: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^data mine, train: .*{message}"):
        decode(from_map_style({part: Pairs(samples) for part in ("train", "validation", "test")}, "mine"))


def test_a_data_set_that_fails_is_named_with_its_sample() -> None:
    with pytest.raises(InputError, match="data mine, train: sample 0 fails: KeyError: 0"):
        from_map_style({"train": Pairs({"one": 1})}, "mine")  # type: ignore[arg-type]


def test_unknown_and_empty_splits_are_named() -> None:
    with pytest.raises(InputError, match="splits must be train, validation, test, but there is unsupervised"):
        from_map_style({"train": Records(4), "unsupervised": Records(4)}, "mine")
    with pytest.raises(InputError, match="data mine: the test split is empty"):
        from_map_style({"train": Records(4), "test": Records(0)}, "mine")
