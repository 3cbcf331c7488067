"""Data sets in folders of each format that `datasets` reads: all of them hold the same bands of `make_dataset`."""

import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_models import as_table, as_tables, package, pictures
from PIL import Image

from autokd.config.schema import DataConfig
from autokd.data.dataset import Dataset, Split
from autokd.data.decoding.decode import decode
from autokd.data.registry import check_source, load_data
from autokd.data.sources.hugging_face import from_hub
from autokd.errors import InputError

datasets = package("datasets")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `datasets` prepares is gone after the test."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def save_dict(dataset: Dataset, folder: Path) -> None:
    as_tables(dataset).save_to_disk(folder)


def save_parquet(dataset: Dataset, folder: Path) -> None:
    folder.mkdir()
    for part, split in as_tables(dataset).items():
        split.to_parquet(folder / f"{part}-00000-of-00001.parquet")


def save_folders(dataset: Dataset, folder: Path) -> None:
    for part, split in dataset.splits.items():
        for number, (picture, label) in enumerate(zip(pictures(split), split.labels, strict=True)):
            place = folder / part / dataset.class_names[label]
            place.mkdir(parents=True, exist_ok=True)
            picture.save(place / f"{number:03d}.png")


def save_webdataset(dataset: Dataset, folder: Path) -> None:
    folder.mkdir()
    for part, split in dataset.splits.items():
        with tarfile.open(folder / f"{part}-0000.tar", "w") as archive:
            for number, (picture, label) in enumerate(zip(pictures(split), split.labels.tolist(), strict=True)):
                content = io.BytesIO()
                picture.save(content, "png")
                for suffix, data in (("png", content.getvalue()), ("cls", str(label).encode())):
                    info = tarfile.TarInfo(f"{number:03d}.{suffix}")
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))


def in_order(split: Split) -> list[Any]:
    """The samples of a split, in an order that does not depend on that of the files."""
    return sorted(
        [label, image.flatten().tolist()] for image, label in zip(split.images, split.labels.tolist(), strict=True)
    )


@pytest.mark.parametrize("save", [save_dict, save_parquet, save_folders, save_webdataset])
def test_all_formats_give_the_samples_that_were_saved(
    tmp_path: Path, dataset: Dataset, save: Callable[[Dataset, Path], None]
) -> None:
    save(dataset, tmp_path / "data")
    config = DataConfig(source=f"hf:{tmp_path / 'data'}")
    check_source(config)
    found = load_data(config)
    assert {part: in_order(split) for part, split in found.splits.items()} == {
        part: in_order(split) for part, split in dataset.splits.items()
    }
    assert found.class_names in (dataset.class_names, ("0", "1", "2"))


def test_larger_data_can_be_sent_to_the_processes_that_decode_into_files(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autokd.data.decoding.mapped._n_cores", lambda: 1)
    save_dict(dataset, tmp_path / "data")
    sent = pickle.loads(pickle.dumps(from_hub(DataConfig(source=f"hf:{tmp_path / 'data'}"))))
    found = decode(sent, memory_bytes=1, cache=tmp_path / "decoded")
    assert found.train.is_mapped
    assert found.digest == dataset.digest


def test_one_split_is_the_training_split(tmp_path: Path, dataset: Dataset) -> None:
    as_table(dataset.train, dataset.class_names).save_to_disk(tmp_path / "data")
    found = load_data(DataConfig(source=f"hf:{tmp_path / 'data'}", validation=10, image_size=4))
    assert [len(split) for split in found.splits.values()] == [44, 10, 6]
    assert found.input_shape == (1, 4, 4)


def test_splits_of_other_names_are_chosen(tmp_path: Path, dataset: Dataset) -> None:
    as_tables(dataset, {"train": "small", "validation": "dev", "test": "valid"}).save_to_disk(tmp_path / "data")
    source = f"hf:{tmp_path / 'data'}"
    with pytest.raises(
        InputError, match=r"has the splits small, dev, valid: set data.splits to .* train = \"small\" }\.$"
    ):
        load_data(DataConfig(source=source))
    chosen = DataConfig.model_validate({"source": source, "splits": {"train": "small", "test": "valid"}})
    found = load_data(chosen)
    assert torch.equal(found.test.images, dataset.test.images)
    assert [len(split) for split in found.splits.values()] == [54, 6, 24]
    with pytest.raises(InputError, match=r"has the splits small, dev, valid"):
        load_data(DataConfig.model_validate({"source": source, "splits": {"train": "large"}}))


def test_two_names_of_one_split_are_refused_unless_one_is_chosen(tmp_path: Path, dataset: Dataset) -> None:
    as_tables(dataset, {"train": "train", "validation": "val", "test": "valid"}).save_to_disk(tmp_path / "data")
    source = f"hf:{tmp_path / 'data'}"
    with pytest.raises(InputError, match=r"val and valid are both the validation split: set data\.splits"):
        load_data(DataConfig(source=source))
    chosen = {"train": "train", "validation": "val", "test": "valid"}
    found = load_data(DataConfig.model_validate({"source": source, "splits": chosen}))
    assert torch.equal(found.validation.images, dataset.validation.images)


def test_one_of_several_data_sets_is_chosen(tmp_path: Path, dataset: Dataset) -> None:
    files = {"train": dataset.train, "test": dataset.test}
    for name, split in files.items():
        as_table(split, dataset.class_names).to_parquet(tmp_path / f"{name}.parquet")
    described = [f"- config_name: {name}\n  data_files: {name}.parquet\n" for name in files]
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{''.join(described)}---\n")
    found = load_data(DataConfig(source=f"hf:{tmp_path}", config_name="test"))
    assert sum(len(split) for split in found.splits.values()) == len(dataset.test)
    for unclear in (None, "tset"):
        with pytest.raises(
            InputError, match=r"holds the data sets train, test: set data.config_name to one of them\.$"
        ):
            load_data(DataConfig(source=f"hf:{tmp_path}", config_name=unclear))


MASK = {"mask": (datasets.Image(), Image.new("L", (6, 6)))}
COARSE = {"coarse": (datasets.ClassLabel(names=["all"]), 0)}


@pytest.mark.parametrize(
    ("more", "message", "setting"),
    [
        (MASK, "picture and mask could be the column of images: set data.image_column to one of them.", "image_column"),
        (COARSE, r"kind and coarse could be the column of labels .*: set data.label_column to one of", "label_column"),
    ],
)
def test_columns_that_could_be_meant_are_named(
    tmp_path: Path, dataset: Dataset, more: dict[str, Any], message: str, setting: str
) -> None:
    as_tables(dataset, **more).save_to_disk(tmp_path / "data")
    source = f"hf:{tmp_path / 'data'}"
    with pytest.raises(InputError, match=message):
        load_data(DataConfig(source=source))
    columns = {"image_column": "picture", "label_column": "kind"}
    assert load_data(DataConfig(source=source, **{setting: columns[setting]})).digest == dataset.digest  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"label_column": "word"},
            r"'word' is no column of labels \(a ClassLabel, or integers\); the columns are pict",
        ),
        (
            {"image_column": "word"},
            r"'word' is no column of images; the columns are picture \(Image\), kind \(ClassLab",
        ),
        ({"label_column": "knid"}, r"'knid' is no column of labels"),
    ],
)
def test_other_columns_are_refused(tmp_path: Path, dataset: Dataset, settings: dict[str, str], message: str) -> None:
    as_tables(dataset, word=(datasets.Value("string"), "a")).save_to_disk(tmp_path / "data")
    with pytest.raises(InputError, match=message):
        load_data(DataConfig(source=f"hf:{tmp_path / 'data'}", **settings))  # type: ignore[arg-type]


def test_data_without_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("".join(json.dumps({"text": "a", "label": k % 2}) + "\n" for k in range(9)))
    with pytest.raises(
        InputError, match=r"there is no column of images; the columns are text \(Value\), label \(Value\)"
    ):
        load_data(DataConfig(source=f"hf:{tmp_path}"))


def test_classes_of_one_split_are_those_of_all(tmp_path: Path, dataset: Dataset) -> None:
    both = as_tables(dataset)
    both["test"] = as_table(dataset.test, tuple(reversed(dataset.class_names)))
    both.save_to_disk(tmp_path / "data")
    with pytest.raises(InputError, match=r"the labels of test are of other classes than those of train\.$"):
        load_data(DataConfig(source=f"hf:{tmp_path / 'data'}"))


@pytest.mark.parametrize("column", ["picture", "kind"])
def test_a_split_that_lacks_a_column_is_named(tmp_path: Path, dataset: Dataset, column: str) -> None:
    both = as_tables(dataset)
    both["test"] = both["test"].remove_columns([column])
    both.save_to_disk(tmp_path / "data")
    with pytest.raises(InputError, match=rf"test has no column '{column}', but train has\.$"):
        load_data(DataConfig(source=f"hf:{tmp_path / 'data'}"))


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(b"nothing")
    with pytest.raises(InputError, match=rf"^data hf:{tmp_path}: cannot be read: \w+: .*\.$") as raised:
        load_data(DataConfig(source=f"hf:{tmp_path}"))
    assert "\n" not in str(raised.value)


def test_what_is_not_on_this_machine_is_not_fetched_unasked() -> None:
    expected = (
        r"^data.source: 'nobody/nothing' is not on this machine: set data.download = true to fetch it from the hub"
    )
    with pytest.raises(InputError, match=expected):
        check_source(DataConfig(source="hf:nobody/nothing"))
