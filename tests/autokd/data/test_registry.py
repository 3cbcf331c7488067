import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autokd.config.schema import DataConfig
from autokd.data.dataset import Dataset
from autokd.data.registry import load_data
from autokd.data.sources.arrays import save_npz
from autokd.errors import InputError

MODULE = """
import torch
from autokd.data.dataset import Dataset, Split

def arrays():
    return {"train_images": torch.zeros(40, 4, 4, dtype=torch.uint8), "train_labels": torch.arange(40) % 2}

def dataset():
    split = Split(torch.zeros(4, 2, 2, 1, dtype=torch.uint8), torch.arange(4) % 2)
    return Dataset("mine", split, split, split, ("even", "odd"))

def nothing():
    return None

class Squares(torch.utils.data.Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, index):
        return torch.full((4, 4), index, dtype=torch.uint8), index % 2

def map_style():
    return {"train": Squares()}

def failing():
    raise OSError("no disk")
"""


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    load_data.cache_clear()
    yield
    load_data.cache_clear()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "my_data_for_tests.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_data_for_tests"
    sys.modules.pop("my_data_for_tests", None)


def load(source: str, **options: Any) -> Dataset:
    return load_data(DataConfig(source=source, **options))


def test_the_digits_have_the_given_sizes_of_validation_and_subset() -> None:
    dataset = load("digits", validation=100, subset=50)
    assert (len(dataset.train), len(dataset.validation)) == (50, 100)


def test_a_data_set_is_loaded_once() -> None:
    assert load("digits") is load("digits")


def test_a_function_may_return_arrays_or_a_data_set(module: str) -> None:
    dataset = load(f"{module}:arrays", validation=10)
    assert (len(dataset.validation), dataset.input_shape, dataset.classes) == (10, (1, 4, 4), 2)
    assert load(f"{module}:dataset").name == "mine"


def test_a_function_may_return_map_style_data_sets(module: str) -> None:
    dataset = load(f"{module}:map_style", validation=10, subset=12, image_size=3)
    assert [len(split) for split in dataset.splits.values()] == [12, 10, 4]
    assert (dataset.input_shape, dataset.class_names) == ((1, 3, 3), ("0", "1"))
    assert torch.equal(dataset.train.images[:, 0, 0, 0] % 2, dataset.train.labels)


def test_a_function_that_fails_or_returns_something_else_is_named(module: str) -> None:
    with pytest.raises(InputError, match=rf"^data.source: {module}:failing\(\) fails: OSError: no disk\.$"):
        load(f"{module}:failing")
    with pytest.raises(InputError, match=r"or an autokd\.Dataset, but returned NoneType"):
        load(f"{module}:nothing")


def test_an_archive_and_a_folder_are_recognised(tmp_path: Path, dataset: Dataset) -> None:
    save_npz(dataset, tmp_path / "data.npz")
    assert load(str(tmp_path / "data.npz")).digest == dataset.digest
    with pytest.raises(InputError, match="needs a folder `train`"):
        load(str(tmp_path))


def test_an_unknown_source_is_an_error_with_the_known_and_the_nearest() -> None:
    message = (
        "must be one of fashion-mnist, digits, a .npz file, a folder, `hf:user/name` or `module:function`, but got "
        "'digit'; the nearest known is 'digits'"
    )
    with pytest.raises(InputError, match=message):
        load("digit")


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.npz is not a readable .npz archive"):
        load(str(tmp_path / "nowhere.npz"))
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    with pytest.raises(InputError, match=r"one.npz is not a readable .npz archive"):
        load(str(tmp_path / "one.npz"))
