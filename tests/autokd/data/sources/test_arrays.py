from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autokd.data.dataset import Dataset
from autokd.data.sources.arrays import from_arrays, from_npz, save_npz
from autokd.errors import InputError


@pytest.fixture
def arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"train_images": rng.integers(0, 256, (50, 4, 5), dtype=np.uint8), "train_labels": np.arange(50) % 3}


def test_an_archive_reads_back_as_the_same_data_set(tmp_path: Path, dataset: Dataset) -> None:
    save_npz(dataset, tmp_path / "data.npz")
    again = from_npz(tmp_path / "data.npz")
    assert again.digest == dataset.digest
    assert again.class_names == dataset.class_names


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(6, 2), (6,)], ids=["signals", "vectors"])
def test_an_archive_of_signals_or_vectors_reads_back_with_arrays_of_inputs(
    tmp_path: Path, make_dataset, shape, dtype
) -> None:
    dataset = make_dataset(shape=shape, dtype=dtype)
    save_npz(dataset, tmp_path / "data.npz")
    with np.load(tmp_path / "data.npz") as archive:
        assert {"train_inputs", "validation_inputs", "test_inputs"} <= set(archive.files)
    again = from_npz(tmp_path / "data.npz")
    assert (again.digest, again.train.images.dtype) == (dataset.digest, dtype)


@pytest.mark.parametrize(("shape", "input_shape"), [((9, 4), (4, 9)), ((9,), (9,))])
def test_missing_splits_of_inputs_are_held_out_as_those_of_images(shape, input_shape) -> None:
    inputs = np.random.default_rng(0).normal(size=(50, *shape)).astype(np.float32)
    dataset = from_arrays({"train_inputs": inputs, "train_labels": np.arange(50) % 3}, "mine")
    assert [len(split) for split in dataset.splits.values()] == [41, 4, 5]
    assert dataset.input_shape == input_shape
    found = torch.cat([split.images for split in dataset.splits.values()]).flatten(1)
    assert sorted(found.tolist()) == sorted(inputs.reshape(50, -1).tolist())


def test_inputs_of_float64_are_those_of_float32() -> None:
    inputs, labels = np.random.default_rng(0).normal(size=(50, 4)), np.arange(50) % 3
    digests = {
        from_arrays({"train_inputs": inputs.astype(kind), "train_labels": labels}, "mine").digest
        for kind in (np.float32, np.float64)
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": np.zeros((50, 4, 4), np.uint8)}, "needs train_inputs and .* but has train_images, train_inp"),
        ({"test_images": np.zeros((3, 4), np.uint8)}, r"may have validation_inputs, .* \(inputs, not images, for sig"),
        ({"test_inputs": np.zeros((3, 4), np.float32)}, "test_inputs and test_labels go together"),
        ({"train_inputs": np.full((50, 4), 1e300)}, "train vectors must be finite, but 41 of 41 hold NaN"),
        ({"train_inputs": np.zeros((50, 4), np.int16)}, "train: signals and vectors must be .* torch.int16"),
        ({"train_inputs": np.zeros((50, 4, 4, 1), np.uint8)}, r"train_inputs must be .* but are \(50, 4, 4, 1\)"),
        (
            {"train_inputs": np.full((50, 4), np.nan, np.float32)},
            r"train vectors must be finite, but 41 of 41 hold NaN",
        ),
    ],
)
def test_invalid_inputs_are_named(change: dict[str, Any], message: str) -> None:
    arrays = {"train_inputs": np.zeros((50, 4), np.float32), "train_labels": np.arange(50) % 3}
    with pytest.raises(InputError, match=f"^data mine: .*{message}"):
        from_arrays(arrays | change, "mine")


def test_missing_splits_are_held_out_of_the_training_samples(arrays: dict[str, Any]) -> None:
    dataset = from_arrays(arrays, "mine")
    assert [len(split) for split in dataset.splits.values()] == [41, 4, 5]  # a tenth, then a tenth of what is left
    images = torch.cat([split.images for split in dataset.splits.values()]).flatten(1)
    expected = torch.from_numpy(arrays["train_images"]).flatten(1)
    assert sorted(images.tolist()) == sorted(expected.tolist())
    assert len(from_arrays(arrays, "mine", validation=7).validation) == 7


def test_given_splits_are_kept(arrays: dict[str, Any]) -> None:
    arrays |= {"validation_images": arrays["train_images"][:9], "validation_labels": arrays["train_labels"][:9]}
    dataset = from_arrays(arrays, "mine")
    assert torch.equal(dataset.validation.images[..., 0], torch.from_numpy(arrays["train_images"][:9]))


def test_classes_are_numbered_unless_they_are_named(arrays: dict[str, Any]) -> None:
    assert from_arrays(arrays, "mine").class_names == ("0", "1", "2")
    assert from_arrays(arrays | {"class_names": ["x", "y", "z"]}, "mine").class_names == ("x", "y", "z")


@pytest.mark.parametrize("names", [[b"ant", b"bee", "caf\u00e9".encode()], np.array([b"ant", b"bee", b"caf\xc3\xa9"])])
def test_names_in_bytes_are_read_as_text(arrays: dict[str, Any], names: Any) -> None:
    assert from_arrays(arrays | {"class_names": names}, "mine").class_names == ("ant", "bee", "caf\u00e9")


@pytest.mark.parametrize("empty", ["train", "validation", "test"])
def test_an_empty_split_is_named(arrays: dict[str, Any], empty: str) -> None:
    images, labels = arrays["train_images"], arrays["train_labels"]
    sizes = {part: 0 if part == empty else 50 for part in ("train", "validation", "test")}
    given = {f"{part}_images": images[:n] for part, n in sizes.items()}
    given |= {f"{part}_labels": labels[:n] for part, n in sizes.items()}
    with pytest.raises(InputError, match=f"^data mine: the {empty} split is empty"):
        from_arrays(given, "mine")


def test_class_names_must_be_given_if_they_are_there(arrays: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"class_names must be a list of a name for each class, but its shape is \(\)"):
        from_arrays(arrays | {"class_names": None}, "mine")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_labels": None}, "needs train_images and train_labels, .* but has train_images"),
        ({"training_images": np.zeros(3)}, "may have validation_images, .* but has train_images, .*training_images"),
        ({"test_images": np.zeros((3, 4, 5), np.uint8)}, "test_images and test_labels go together"),
        ({"test_labels": np.zeros(3, np.int64)}, "test_images and test_labels go together"),
        ({"train_labels": np.zeros(50)}, "train_labels must be integers, but are torch.float64"),
        ({"train_labels": np.zeros(50, complex)}, "train_labels must be integers, but are torch.complex128"),
        ({"train_labels": np.array(["cat"] * 50)}, "train samples must be numbers"),
        ({"train_labels": np.zeros(49, np.int64)}, "train: 50 images need as many labels"),
        ({"train_images": np.zeros((50, 4, 5))}, "train: images must be uint8"),
        (
            {"train_images": np.zeros((50, 4), np.uint8)},
            r"train_images must be .*vectors are inputs\), but are \(50, 4\)",
        ),
        ({"train_labels": np.arange(50) - 1}, r"labels must be 0\.\."),
        ({"train_labels": np.arange(50) + 10**12}, "labels must be .* below 1,000,000, .*: number the classes anew"),
        ({1: np.zeros(3)}, "may have validation_images, .* but has 1, train_images"),
        ({"class_names": "abc"}, r"class_names must be a list of a name for each class, but its shape is \(\)"),
        ({"class_names": np.array("abc")}, r"class_names must be a list .*, but its shape is \(\)"),
        ({"class_names": np.array([["a", "b", "c"]])}, r"class_names must be a list .*, but its shape is \(1, 3\)"),
        ({"train_images": np.zeros((50, 3, 8, 9), np.uint8)}, r"\(50, 3, 8, 9\) seem to have .*moveaxis\(.*, 1, -1\)"),
    ],
)
def test_invalid_arrays_are_named(arrays: dict[str, Any], change: dict[str, Any], message: str) -> None:
    changed = {key: value for key, value in (arrays | change).items() if value is not None}
    with pytest.raises(InputError, match=f"^data mine: .*{message}"):
        from_arrays(changed, "mine")


def test_tensors_with_a_gradient_and_arrays_of_another_byte_order_are_taken(arrays: dict[str, Any]) -> None:
    inputs, labels = torch.rand(50, 3), arrays["train_labels"]
    expected = from_arrays({"train_inputs": inputs, "train_labels": labels}, "mine").digest
    same = (inputs.clone().requires_grad_(), inputs.to_sparse(), inputs.numpy().astype(">f4"))
    for each in same:
        assert from_arrays({"train_inputs": each, "train_labels": labels}, "mine").digest == expected


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 damaged", b"text"])
def test_a_damaged_archive_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"data.npz is not a readable .npz archive"):
        from_npz(tmp_path / "data.npz")


@pytest.mark.parametrize("what", ["the method of compression", "compressed samples"])
def test_an_archive_of_which_bytes_have_changed_is_an_input_error(tmp_path: Path, what: str) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, train_inputs=np.arange(300.0).reshape(-1, 3), train_labels=np.zeros(100, np.int64))
    content = bytearray(path.read_bytes())
    if what == "compressed samples":
        content[70:74] = b"\xff" * 4
    else:  # in the first member's header and in the directory
        content[8] = content[content.index(b"PK\x01\x02") + 10] = 77
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"data.npz is not a readable .npz archive"):
        from_npz(path)


def test_an_archive_of_pickles_is_rejected(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", train_images=np.array([{"a": 1}], dtype=object), train_labels=np.zeros(1))
    with pytest.raises(InputError, match="Object arrays cannot be loaded"):
        from_npz(tmp_path / "data.npz")
