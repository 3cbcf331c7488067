from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from autokd.data.augmentation import Augmentation
from autokd.data.dataset import Dataset
from autokd.data.stream import TrainingStream
from autokd.errors import InputError
from autokd.teachers.logits import Reading
from autokd.teachers.precomputed import PrecomputedTeacher, keep_outputs, precomputed_teacher, read_outputs

CPU = torch.device("cpu")


@pytest.fixture
def outputs(dataset: Dataset) -> dict[str, Tensor]:
    """Logits of a teacher that is always right, with rows that tell the samples apart."""
    return {
        part: 5 * torch.eye(3)[split.labels] + torch.arange(len(split))[:, None] / 1000
        for part, split in dataset.splits.items()
    }


@pytest.fixture
def teach(dataset: Dataset) -> Callable[..., PrecomputedTeacher]:
    """Makes the teacher of some outputs."""
    return lambda arrays, reading=Reading(): precomputed_teacher(arrays, reading, "", dataset)  # noqa: B008 (frozen)


def test_every_view_of_a_sample_gets_that_samples_row(dataset: Dataset, outputs, teach) -> None:
    teacher, indices = teach(outputs), torch.tensor([5, 0, 41])
    stream = TrainingStream(dataset, Augmentation(shift=1), 16, 3, 7, CPU)
    for view in range(2):
        assert torch.equal(teacher.on_batch(stream.batch(indices, view)), outputs["train"][indices])
    for part, rows in outputs.items():
        assert torch.equal(teacher.on_split(dataset, part, CPU), rows)


def test_a_methods_own_views_have_no_rows(dataset: Dataset, outputs, teach) -> None:
    batch = TrainingStream(dataset, Augmentation(), 16, 3, 7, CPU).batch(torch.arange(4), 0)
    with pytest.raises(InputError, match=r"the method looks at views of its own, of which teacher.outputs holds none"):
        teach(outputs).on_batch(replace(batch, images=batch.images.repeat(2, 1, 1, 1)))


def test_rows_are_read_as_a_networks_outputs_are(dataset: Dataset, outputs, teach) -> None:
    wider = {part: torch.cat([rows, -rows], 1).softmax(1).numpy() for part, rows in outputs.items()}
    teacher = teach(wider, Reading(classes=(1, 0, 2), probabilities=True))
    found = teacher.on_split(dataset, "test", CPU).softmax(1)
    torch.testing.assert_close(found, outputs["test"][:, [1, 0, 2]].softmax(1))


def test_nothing_beyond_the_datas_samples_can_be_asked(outputs, teach) -> None:
    teacher = teach(outputs)
    assert (teacher.network, teacher.parameter_count) == (None, None)
    with pytest.raises(InputError, match="for any others the teacher must be a network"):
        teacher(torch.zeros(1, 1, 6, 6))


def test_the_test_split_may_be_missing(outputs, teach) -> None:
    assert teach(outputs).knows("test")
    del outputs["test"]
    assert not teach(outputs).knows("test")


def test_the_digest_is_of_every_row_and_its_type(outputs, teach) -> None:
    digests = {teach(outputs).digest, teach(dict(reversed(outputs.items()))).digest}
    assert len(digests) == 1
    for part in outputs:
        changed = {name: rows.clone() for name, rows in outputs.items()}
        changed[part][-1, -1] += 0.5
        digests.add(teach(changed).digest)
    digests.add(teach({part: rows.double() for part, rows in outputs.items()}).digest)
    assert len(digests) == 5


@pytest.mark.parametrize("kind", ["archive", "folder"])
def test_files_are_read_as_they_were_written(tmp_path: Path, outputs, kind: str) -> None:
    arrays: dict[str, Any] = {part: rows.half().numpy() for part, rows in outputs.items()}
    path = tmp_path / "outputs.npz" if kind == "archive" else tmp_path
    if kind == "archive":
        np.savez(path, **arrays)
    else:
        for part, rows in arrays.items():
            np.save(tmp_path / f"{part}.npy", rows)
    found = read_outputs(path)
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[part], rows) for part, rows in arrays.items())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("o.npy", b"x", "must be an .npz archive or a folder of .npy files, but got 'o.npy'"),
        ("o.npz", b"damaged", "o.npz is not readable"),
        ("o.npz", b"", "o.npz is not readable"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_outputs(tmp_path / name)


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "o.npz", train=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match=r"o.npz is not readable: Object arrays cannot be loaded"):
        read_outputs(tmp_path / "o.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation": None}, "needs train and validation, may have test, but has train, test"),
        ({"holdout": torch.zeros(3, 3)}, "needs train and validation, may have test, but has .*holdout"),
        (
            {"train": torch.zeros(60, 3, 1)},
            r"train must be floats of samples x outputs, but is torch.float32 of \(60, 3, 1\)",
        ),
        ({"train": torch.zeros(60, 0)}, r"train must be floats of samples x outputs, .* of \(60, 0\)"),
        ({"train": np.full((60, 3), "a")}, "teacher.outputs must be arrays of numbers: train: can't"),
        ({"test": np.zeros((24, 3), np.longdouble)}, "teacher.outputs must be arrays of numbers: test: can't convert"),
        ({"train": torch.zeros(60, 3).long()}, "train must be floats of samples x outputs, but is torch.int64"),
        (
            {"train": torch.zeros(81, 3)},
            "train has 81 rows, but the train split has 60 samples. .* omit data.subset",
        ),
        ({"test": torch.full((24, 3), torch.nan)}, "test holds NaN, infinity, or numbers beyond the range of float32"),
        ({"test": torch.full((24, 3), 1e300, dtype=torch.float64)}, "test holds NaN, infinity, or numbers beyond the"),
        ({"train": torch.zeros(60, 4)}, "as many outputs for all samples, but has: train 4, validation 3, test 3"),
        ({"test": torch.zeros(24, 2)}, "as many outputs for all samples, but has: train 3, validation 3, test 2"),
    ],
)
def test_outputs_that_are_not_the_datas_are_refused(outputs, teach, changes: dict[str, Any], message: str) -> None:
    arrays = {part: rows for part, rows in (outputs | changes).items() if rows is not None}
    with pytest.raises(InputError, match=message):
        teach(arrays)


@pytest.mark.parametrize("kind", [">f4", "<f4"])
def test_rows_of_any_byte_order_are_taken(tmp_path: Path, dataset: Dataset, outputs, teach, kind: str) -> None:
    for part, rows in outputs.items():
        np.save(tmp_path / f"{part}.npy", rows.numpy().astype(kind))
    found = read_outputs(tmp_path)
    arrays = {part: found[part] for part in outputs}
    teacher = teach(arrays)
    assert teacher.digest == teach(outputs).digest
    assert torch.equal(teacher.on_split(dataset, "test", CPU), outputs["test"])
    assert keep_outputs(arrays, tmp_path) == keep_outputs(outputs, tmp_path)


def test_training_rows_in_another_order_are_noticed(outputs, teach) -> None:
    outputs["train"] = outputs["train"].roll(1, 0)
    with pytest.raises(
        InputError, match=r"the accuracy of train is 0.00%, but that of validation 100.00%: are the rows"
    ):
        teach(outputs)


def test_arrays_are_kept_once_for_the_workers(tmp_path: Path, outputs) -> None:
    path = keep_outputs({part: rows.tolist() for part, rows in outputs.items()}, tmp_path / "new")
    assert keep_outputs(outputs, tmp_path / "new") == path
    assert np.array_equal(read_outputs(path)["validation"], outputs["validation"])
    with pytest.raises(InputError, match="must be arrays of numbers"):
        keep_outputs({"train": ["a"]}, tmp_path)


def test_rows_in_bfloat16_are_kept_with_their_values(tmp_path: Path, outputs) -> None:
    rows = outputs["validation"].bfloat16()
    kept = read_outputs(keep_outputs({"validation": rows}, tmp_path))["validation"]
    assert torch.equal(torch.as_tensor(kept), rows.float())
