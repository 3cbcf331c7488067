from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from autokd.data.dataset import Dataset
from autokd.data.user import from_arrays, from_folder, from_npz, save_npz
from autokd.errors import InputError


@pytest.fixture
def arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"train_images": rng.integers(0, 256, (50, 4, 5), dtype=np.uint8), "train_labels": np.arange(50) % 3}


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


def test_an_archive_reads_back_as_the_same_data_set(tmp_path: Path, dataset: Dataset):
    save_npz(dataset, tmp_path / "data.npz")
    again = from_npz(tmp_path / "data.npz")
    assert again.digest == dataset.digest
    assert again.class_names == dataset.class_names


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(6, 2), (6,)], ids=["signals", "vectors"])
def test_an_archive_of_signals_or_vectors_names_them_inputs_and_reads_back(tmp_path: Path, make_dataset, shape, dtype):
    dataset = make_dataset(shape=shape, dtype=dtype)
    save_npz(dataset, tmp_path / "data.npz")
    with np.load(tmp_path / "data.npz") as archive:
        assert {"train_inputs", "validation_inputs", "test_inputs"} <= set(archive.files)
    again = from_npz(tmp_path / "data.npz")
    assert (again.digest, again.train.images.dtype) == (dataset.digest, dtype)


@pytest.mark.parametrize(("shape", "input_shape"), [((9, 4), (4, 9)), ((9,), (9,))])
def test_missing_splits_of_inputs_are_held_out_as_those_of_images(shape, input_shape):
    inputs = np.random.default_rng(0).normal(size=(50, *shape)).astype(np.float32)
    dataset = from_arrays({"train_inputs": inputs, "train_labels": np.arange(50) % 3}, "mine")
    assert [len(split) for split in dataset.splits.values()] == [41, 4, 5]
    assert dataset.input_shape == input_shape
    found = torch.cat([split.images for split in dataset.splits.values()]).flatten(1)
    assert sorted(found.tolist()) == sorted(inputs.reshape(50, -1).tolist())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": np.zeros((50, 4, 4), np.uint8)}, "needs train_inputs and .* but has train_images, train_inp"),
        ({"test_images": np.zeros((3, 4), np.uint8)}, r"may have validation_inputs, .* \(inputs, not images, for sig"),
        ({"test_inputs": np.zeros((3, 4), np.float32)}, "test_inputs and test_labels go together"),
        ({"train_inputs": np.zeros((50, 4))}, "train: signals and vectors must be uint8 or float32 .* torch.float64"),
        ({"train_inputs": np.zeros((50, 4), np.int16)}, "train: signals and vectors must be .* torch.int16"),
        ({"train_inputs": np.zeros((50, 4, 4, 1), np.uint8)}, r"train_inputs must be .* but are \(50, 4, 4, 1\)"),
        (
            {"train_inputs": np.full((50, 4), np.nan, np.float32)},
            r"train vectors must be finite, but 41 of 41 hold NaN",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_named(change: dict[str, Any], message: str):
    arrays = {"train_inputs": np.zeros((50, 4), np.float32), "train_labels": np.arange(50) % 3}
    with pytest.raises(InputError, match=f"^data mine: .*{message}"):
        from_arrays(arrays | change, "mine")


def test_missing_splits_are_held_out_of_the_training_samples(arrays: dict[str, Any]):
    dataset = from_arrays(arrays, "mine")
    assert [len(split) for split in dataset.splits.values()] == [41, 4, 5]  # a tenth, then a tenth of what is left
    images = torch.cat([split.images for split in dataset.splits.values()]).flatten(1)
    expected = torch.from_numpy(arrays["train_images"]).flatten(1)
    assert sorted(images.tolist()) == sorted(expected.tolist())
    assert len(from_arrays(arrays, "mine", validation=7).validation) == 7


def test_splits_that_are_there_are_kept(arrays: dict[str, Any]):
    arrays |= {"validation_images": arrays["train_images"][:9], "validation_labels": arrays["train_labels"][:9]}
    dataset = from_arrays(arrays, "mine")
    assert torch.equal(dataset.validation.images[..., 0], torch.from_numpy(arrays["train_images"][:9]))


def test_classes_are_numbered_unless_they_are_named(arrays: dict[str, Any]):
    assert from_arrays(arrays, "mine").class_names == ("0", "1", "2")
    assert from_arrays(arrays | {"class_names": ["x", "y", "z"]}, "mine").class_names == ("x", "y", "z")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_labels": None}, "needs train_images and train_labels, .* but has train_images"),
        ({"training_images": np.zeros(3)}, "may have validation_images, .* but has train_images, .*training_images"),
        ({"test_images": np.zeros((3, 4, 5), np.uint8)}, "test_images and test_labels go together"),
        ({"test_labels": np.zeros(3, np.int64)}, "test_images and test_labels go together"),
        ({"train_labels": np.zeros(50)}, "train_labels must be integers, but are torch.float64"),
        ({"train_labels": np.array(["cat"] * 50)}, "train samples must be numbers"),
        ({"train_labels": np.zeros(49, np.int64)}, "train: 50 images need as many labels"),
        ({"train_images": np.zeros((50, 4, 5))}, "train: images must be uint8"),
        (
            {"train_images": np.zeros((50, 4), np.uint8)},
            r"train_images must be .*vectors are inputs\), but are \(50, 4\)",
        ),
        ({"train_labels": np.arange(50) - 1}, r"labels must be 0\.\."),
    ],
)
def test_arrays_that_do_not_fit_are_named(arrays: dict[str, Any], change: dict[str, Any], message: str):
    changed = {key: value for key, value in (arrays | change).items() if value is not None}
    with pytest.raises(InputError, match=f"^data mine: .*{message}"):
        from_arrays(changed, "mine")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 damaged", b"text"])
def test_a_damaged_archive_is_an_input_error(tmp_path: Path, content: bytes):
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"data.npz is not a readable .npz archive"):
        from_npz(tmp_path / "data.npz")


def test_an_archive_of_pickles_is_refused(tmp_path: Path):
    np.savez(tmp_path / "data.npz", train_images=np.array([{"a": 1}], dtype=object), train_labels=np.zeros(1))
    with pytest.raises(InputError, match="Object arrays cannot be loaded"):
        from_npz(tmp_path / "data.npz")


def test_a_folder_of_grey_images_has_one_channel_and_sorted_classes(folder: Path):
    dataset = from_folder(folder)
    assert (dataset.class_names, dataset.input_shape) == (("a", "b"), (1, 3, 4))
    assert dataset.train.images[:, 0, 0, 0].tolist() == [100, 101, 102, 10, 11, 12]
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert (dataset.validation.labels.tolist(), dataset.test.labels.tolist()) == ([0], [0, 1])


def test_colour_in_the_first_image_makes_all_colour(folder: Path):
    paint(folder / "train" / "a" / "0.png", (1, 2, 3), mode="RGB")
    dataset = from_folder(folder)
    assert dataset.input_shape == (3, 3, 4)
    assert dataset.train.images[0, 0, 0].tolist() == [1, 2, 3]
    assert dataset.test.images[1, 0, 0].tolist() == [30, 30, 30]


def test_all_images_get_the_size_that_is_asked_for_or_the_first_ones(folder: Path):
    paint(folder / "train" / "b" / "9.png", 50, size=(9, 9))
    assert from_folder(folder).input_shape == (1, 3, 4)
    dataset = from_folder(folder, size=6)
    assert dataset.input_shape == (1, 6, 6)
    assert dataset.train.images[-1].unique().tolist() == [50]  # a plain image stays so


def test_hidden_folders_are_no_classes(folder: Path):
    paint(folder / "train" / ".thumbnails" / "0.png", 1)
    assert from_folder(folder).classes == 2


def test_classes_that_training_lacks_are_named(folder: Path):
    paint(folder / "test" / "c" / "0.png", 1)
    with pytest.raises(InputError, match="test/ has classes that train/ lacks: c"):
        from_folder(folder)


@pytest.mark.parametrize("name", ["train/a/deeper/0.png", "train/b/2.png"])
def test_an_image_that_cannot_be_read_is_named(folder: Path, name: str):
    (folder / name).write_bytes((folder / name).read_bytes()[:20])
    with pytest.raises(InputError, match=f"{name} is not a readable image"):
        from_folder(folder)


def test_images_of_16_bits_are_refused_rather_than_clipped(folder: Path):
    Image.fromarray(np.full((3, 4), 40_000, np.uint16)).save(folder / "train" / "b" / "2.png")
    with pytest.raises(InputError, match=r"2.png has more than 8 bits a channel"):
        from_folder(folder)


def test_folders_without_images_are_named(folder: Path, tmp_path: Path):
    for file in (folder / "val" / "a").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="no image of any of the 2 classes under val/"):
        from_folder(folder)
    (tmp_path / "empty" / "train" / "a").mkdir(parents=True)
    with pytest.raises(InputError, match=r"no image \(.bmp, .* under train/CLASS/"):
        from_folder(tmp_path / "empty")
    with pytest.raises(InputError, match="needs a folder `train`"):
        from_folder(tmp_path / "nowhere")
