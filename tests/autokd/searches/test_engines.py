"""The same search on every engine; each trains for real, in processes of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from inline_searches import rows

from autokd.recipes.catalogue import find_config
from autokd.searches.api import begin
from autokd.searches.reporter import SILENT
from autokd.searches.workspace import Workspace

SETTINGS = (
    *("trials=2", "training.rungs=[1, 2]", "training.views=1", "space.name=nago", "references.names=none"),
    "training.precision=float32",  # "auto" measures, and may find otherwise in the second search
    "workers.count=1",
)
WITHOUT = ("worker", "seconds")


def recorded(folder: Path, workers: Mapping[str, str]) -> list[dict[str, Any]]:
    """All that a search on these workers records."""
    settings = [*SETTINGS, *(f"workers.{key}={value}" for key, value in workers.items())]
    begin(find_config("digits", settings, None), folder, reporter=SILENT).resume()
    with Workspace(folder).open() as store:
        return rows(store, *WITHOUT)


@pytest.fixture(scope="session")
def inline(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return recorded(tmp_path_factory.mktemp("inline"), {"engine": "inline"})


@pytest.mark.slow  # a process that trains
def test_local_processes_record_what_the_process_of_the_search_does(inline: Any, tmp_path: Path) -> None:
    assert recorded(tmp_path, {"engine": "local"}) == inline


@pytest.mark.slow  # a process that trains
def test_a_cluster_of_dask_records_what_the_process_of_the_search_does(
    inline: Any, tmp_path: Path, dask_address: str
) -> None:
    assert recorded(tmp_path, {"engine": "dask", "address": dask_address}) == inline


@pytest.mark.slow  # a process that trains
@pytest.mark.usefixtures("ray_cluster")
def test_a_cluster_of_ray_records_what_the_process_of_the_search_does(inline: Any, tmp_path: Path) -> None:
    assert recorded(tmp_path, {"engine": "ray"}) == inline
