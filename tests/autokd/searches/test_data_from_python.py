from pathlib import Path

from autokd.config.data import DataConfig
from autokd.data.dataset import Dataset
from autokd.data.registry import load_data
from autokd.searches.data_from_python import data_source
from autokd.searches.workspace import Workspace


def test_arrays_are_saved_with_the_split_and_the_names_that_were_asked_for(tmp_path: Path, dataset: Dataset) -> None:
    parts = [("train", dataset.train), ("test", dataset.test)]
    images = {f"{part}_images": split.images.numpy() for part, split in parts}
    given = images | {f"{part}_labels": split.labels.numpy() for part, split in parts}
    names = [str(number) for number in range(dataset.classes)], [f"class {number}" for number in range(dataset.classes)]
    for class_names in names:
        source = data_source(given | {"class_names": class_names}, Workspace(tmp_path), 31)
        loaded = load_data(DataConfig(source=source))
        assert (len(loaded.validation), list(loaded.class_names)) == (31, class_names)
