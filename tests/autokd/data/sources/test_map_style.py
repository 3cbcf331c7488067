from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from autokd.data.decoding.decode import decode
from autokd.data.sources.arrays import from_arrays
from autokd.data.sources.map_style import from_map_style
from autokd.errors import InputError


class Records:
    """Stub of a Hugging Face `Dataset` of images."""

    features: ClassVar[dict[str, Any]] = {"label": SimpleNamespace(names=["cat", "dog"])}

    def __init__(self, n: int, key: str = "image") -> None:
        self.n, self.key = n, key

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {self.key: Image.new("RGB", (5, 4), (index, 2, 3)), "label": index % 2}


class Pairs:
    """Stub of a map-style `torch.utils.data.Dataset` of given samples."""

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
def test_pairs_of_any_kind_of_image_and_label_are_a_data_set(make: Any, shape: tuple[int, ...]) -> None:
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
        ([(GREY, 0.7)], "sample 0 must be .*: the label 0.7 is no class number"),
        ([(GREY, 10**12)], "sample 0 must be .*: the label 1000000000000 is not below 1,000,000; number the classes"),
        ([(GREY, 0), (GREY, 10**20)], "sample 1 must be .*: the label 10{20} is not below 1,000,000"),
        ([(GREY, float("inf"))], "sample 0 must be .*: cannot convert float infinity"),
        ([(GREY, torch.zeros(3))], "sample 0 must be a uint8 or Pillow image and its label: "),
        ([(GREY, 0), (GREY, None)], "sample 1 must be a uint8 or Pillow image and its label: int"),
        ([(np.zeros((2, 2, 4), np.uint8), 0), (np.zeros((3, 2, 4), np.uint8), 0)], "sample 1: an image of 4 channels"),
        ([(Image.new("I;16", (2, 2)), 0)], "more than 8 bits a channel"),
        (
            [(torch.zeros(3, 8, 9, dtype=torch.uint8), 0)],
            r"\(3, 8, 9\) seems to have its channels first; it must be .*: numpy.moveaxis\(image, 0, -1\)",
        ),
    ],
)
def test_samples_that_are_not_labelled_images_are_named(samples: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^data mine, train: .*{message}"):
        decode(from_map_style({part: Pairs(samples) for part in ("train", "validation", "test")}, "mine"))


def test_a_data_set_that_fails_is_named_with_its_sample() -> None:
    with pytest.raises(InputError, match="data mine, train: sample 0 fails: KeyError: 0"):
        from_map_style({"train": Pairs({"one": 1})}, "mine")  # type: ignore[arg-type]


class Wordy(Pairs):
    """Samples that cannot be read, with an error of several lines."""

    def __getitem__(self, index: int) -> Any:
        raise RuntimeError("no sample\nbut a long story.")


def test_of_an_error_of_several_lines_the_first_is_said() -> None:
    with pytest.raises(InputError, match=r"^data mine, train: sample 0 fails: RuntimeError: no sample\.$"):
        from_map_style({"train": Wordy([0])}, "mine")


class Leaving(Pairs):
    """Samples of a script that exits."""

    def __getitem__(self, index: int) -> Any:
        raise SystemExit("no licence")


def test_a_data_set_that_exits_is_named_with_its_sample() -> None:
    with pytest.raises(InputError, match=r"^data mine, train: sample 0 fails: SystemExit: no licence\.$"):
        from_map_style({"train": Leaving([0])}, "mine")


@pytest.mark.parametrize(
    ("split", "kind"), [(iter([]), "list_iterator"), (None, "NoneType"), ({0}, "set"), (Records, "type")]
)
@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_split_that_is_no_map_style_data_set_is_named(part: str, split: Any, kind: str) -> None:
    wanted = rf"the {part} split must be a map-style data set, with len\(\) and \[index\], but is a {kind}\.$"
    with pytest.raises(InputError, match=f"^data mine: {wanted}"):
        from_map_style({"train": Records(4), part: split}, "mine")


class OfClasses(Pairs):
    """Samples whose classes have names, as torchvision's data sets have them."""

    def __init__(self, samples: Any, classes: list[str]) -> None:
        super().__init__(samples)
        self.classes = classes


@pytest.mark.parametrize(
    "classes", [np.array(["a", "b"]), ("a", "b"), {"a": 0, "b": 1}], ids=["array", "tuple", "dict"]
)
def test_classes_are_named_by_any_collection(classes: Any) -> None:
    image = np.zeros((3, 4), np.uint8)
    assert from_map_style({"train": OfClasses([(image, 0), (image, 1)], classes)}, "mine").class_names == ("a", "b")


@pytest.mark.parametrize("classes", [2, "ab", None, []])
def test_what_is_no_collection_of_names_names_no_classes(classes: Any) -> None:
    image = np.zeros((3, 4), np.uint8)
    assert from_map_style({"train": OfClasses([(image, 0), (image, 1)], classes)}, "mine").class_names is None


def test_a_split_whose_length_fails_is_named() -> None:
    class Endless(Pairs):
        def __len__(self) -> int:
            raise TypeError("it has no end")

    with pytest.raises(InputError, match=r"data mine: len\(\) of the train split fails: TypeError: it has no end\.$"):
        from_map_style({"train": Endless([])}, "mine")


def test_splits_of_other_classes_are_refused() -> None:
    image = np.zeros((3, 4), np.uint8)
    train = OfClasses([(image, 0), (image, 1), (image, 2)], ["a", "b", "c"])
    wanted = r"data mine: the classes of validation are a, c, but those of train a, b, c: give all splits the same"
    with pytest.raises(InputError, match=wanted):
        from_map_style({"train": train, "val": OfClasses([(image, 0), (image, 1)], ["a", "c"])}, "mine")


def test_unknown_and_empty_splits_are_named() -> None:
    with pytest.raises(InputError, match="splits must be train, validation, test, but there is unsupervised"):
        from_map_style({"train": Records(4), "unsupervised": Records(4)}, "mine")
    with pytest.raises(InputError, match="splits must be train, validation, test, but there is 1, extra"):
        from_map_style({"train": Records(4), 1: Records(4), "extra": Records(4)}, "mine")  # type: ignore[dict-item]
    with pytest.raises(InputError, match="data mine: the test split is empty"):
        from_map_style({"train": Records(4), "test": Records(0)}, "mine")


def test_two_names_of_one_split_are_refused() -> None:
    wanted = "data mine: val and valid are both the validation split: keep one of them"
    with pytest.raises(InputError, match=wanted):
        from_map_style({"valid": Records(4), "train": Records(4), "val": Records(4)}, "mine")
