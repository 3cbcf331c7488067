import shutil
from pathlib import Path

import pytest
from torch.nn.functional import one_hot

import autokd
from autokd.config.data import DataConfig
from autokd.config.parsing import parse_config
from autokd.data.dataset import Dataset
from autokd.data.registry import load_data
from autokd.searches.backup import back_up
from autokd.searches.data_from_python import data_source
from autokd.searches.workspace import Workspace
from autokd.teachers.from_python import teacher_source
from autokd.teachers.process_cache import forget_files


def test_arrays_are_saved_with_the_split_and_the_names_that_were_asked_for(tmp_path: Path, dataset: Dataset) -> None:
    parts = [("train", dataset.train), ("test", dataset.test)]
    images = {f"{part}_images": split.images.numpy() for part, split in parts}
    given = images | {f"{part}_labels": split.labels.numpy() for part, split in parts}
    names = [str(number) for number in range(dataset.classes)], [f"class {number}" for number in range(dataset.classes)]
    for class_names in names:
        source = data_source(given | {"class_names": class_names}, Workspace(tmp_path), 31)
        loaded = load_data(DataConfig(source=source))
        assert (len(loaded.validation), list(loaded.class_names)) == (31, class_names)


@pytest.mark.slow  # begins a search
def test_a_search_goes_on_in_a_copy_once_the_folder_it_began_in_is_gone(tmp_path: Path, dataset: Dataset) -> None:
    first, copy = Workspace(tmp_path / "first"), Workspace(tmp_path / "copy")
    outputs = {part: 8.0 * one_hot(split.labels) for part, split in dataset.splits.items()}
    config = parse_config(
        {
            "name": "search",
            "budget": {"params": 3_000},
            "data": {"source": data_source(dataset, first)},
            "teacher": teacher_source(outputs, first.folder),
            "space": {"name": "nago", "ranges": {"top_nodes": 3, "middle_nodes": 1, "bottom_nodes": 3}},
            "workers": {"engine": "inline", "count": 1},
        }
    )
    begun = autokd.begin(config, first)
    back_up(first, copy.folder)
    assert autokd.find("search", copy.folder).config == begun.config
    shutil.rmtree(first.folder)
    forget_files()
    found = autokd.find("search", copy.folder)
    context = found.problem.context
    assert context.load_teacher(0, context.load_data()).digest == context.teacher_digest
