from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autokd.data.dataset import Dataset
from autokd.data.decoding.decode import decode
from autokd.data.sources.folder import from_folder
from autokd.errors import InputError


def decoded(path: Path, size: int | None = None) -> Dataset:
    return decode(from_folder(path, size))


def paint(path: Path, value: int | tuple[int, int, int], size: tuple[int, int] = (4, 3), mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of grey images with all three splits; class b has no validation image."""
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


def test_two_folders_of_one_split_are_refused(folder: Path) -> None:
    paint(folder / "validation" / "a" / "0.png", 200)
    with pytest.raises(InputError, match="validation and val are both the validation split: keep one of them"):
        decoded(folder)


def test_all_images_are_colour_if_the_first_one_is(folder: Path) -> None:
    paint(folder / "train" / "a" / "0.png", (1, 2, 3), mode="RGB")
    dataset = decoded(folder)
    assert dataset.input_shape == (3, 3, 4)
    assert dataset.train.images[0, 0, 0].tolist() == [1, 2, 3]
    assert dataset.test.images[1, 0, 0].tolist() == [30, 30, 30]


def test_all_images_are_colour_if_one_behind_a_grey_one_is(folder: Path) -> None:
    paint(folder / "train" / "b" / "1.png", (1, 2, 3), mode="RGB")
    dataset = decoded(folder)
    assert dataset.input_shape == (3, 3, 4)
    assert dataset.train.images[4, 0, 0].tolist() == [1, 2, 3]
    assert dataset.train.images[0, 0, 0].tolist() == [100, 100, 100]


def test_all_images_get_the_given_size_or_that_of_the_first(folder: Path) -> None:
    paint(folder / "train" / "b" / "9.png", 50, size=(9, 9))
    assert decoded(folder).input_shape == (1, 3, 4)
    dataset = decoded(folder, size=6)
    assert dataset.input_shape == (1, 6, 6)
    assert dataset.train.images[-1].unique().tolist() == [50]  # a uniform image remains uniform


def test_hidden_folders_are_not_classes(folder: Path) -> None:
    paint(folder / "train" / ".thumbnails" / "0.png", 1)
    assert decoded(folder).classes == 2


def test_hidden_images_are_none_of_a_class(folder: Path) -> None:
    expected = decoded(folder).digest
    paint(folder / "train" / "a" / ".ipynb_checkpoints" / "0-checkpoint.png", 1)
    (folder / "train" / "b" / "._0.png").write_bytes(b"what macOS leaves beside a file")
    assert decoded(folder).digest == expected


def test_images_of_a_linked_folder_within_a_class_are_read(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    paint(elsewhere / "0.png", 105)
    (folder / "train" / "a" / "linked").symlink_to(elsewhere)
    assert decoded(folder).train.images[:, 0, 0, 0].tolist() == [100, 101, 102, 105, 10, 11, 12]


def test_classes_that_training_lacks_are_named(folder: Path) -> None:
    paint(folder / "test" / "c" / "0.png", 1)
    with pytest.raises(InputError, match="test/ has classes that train/ lacks: c"):
        decoded(folder)


@pytest.mark.parametrize("name", ["train/a/deeper/0.png", "train/b/2.png"])
def test_an_image_that_cannot_be_read_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:20])
    with pytest.raises(InputError, match=f"{name} is not a readable image"):
        decoded(folder)


def test_images_of_16_bits_are_rejected_rather_than_clipped(folder: Path) -> None:
    Image.fromarray(np.full((3, 4), 40_000, np.uint16)).save(folder / "train" / "b" / "2.png")
    with pytest.raises(InputError, match=r"2.png has more than 8 bits a channel"):
        decoded(folder)


def test_a_class_without_an_image_to_train_on_is_named(folder: Path) -> None:
    for file in (folder / "train" / "b").iterdir():
        file.rename(file.with_suffix(".tif"))
    with pytest.raises(InputError, match=r"no image \(.*\) of the class b under train/\."):
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
