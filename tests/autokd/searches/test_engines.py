"""The same search on every engine, and with its files at a URL; each trains for real."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from inline_searches import rows
from object_store import Bucket

from autokd.core.depot import Depot
from autokd.errors import InterruptedSearchError
from autokd.evaluation import remote
from autokd.recipes.catalogue import find_config
from autokd.searches.api import begin, find
from autokd.searches.deletion import delete_search
from autokd.searches.reporter import SILENT
from autokd.searches.workspace import Workspace

SETTINGS = (
    *("trials=2", "training.rungs=[1, 2]", "training.views=1", "space.name=nago", "references.names=none"),
    "training.precision=float32",  # "auto" measures, and may find otherwise in the second search
    "workers.count=1",
    "data.subset=300",
)
WITHOUT = ("worker", "seconds", "epoch_seconds")


def recorded(folder: Path, workers: Mapping[str, str]) -> list[dict[str, Any]]:
    """All that a search on these workers records."""
    settings = [*SETTINGS, *(f"workers.{key}={value}" for key, value in workers.items())]
    begin(find_config("digits", settings, None), folder, reporter=SILENT).resume()
    return read(folder)


def read(folder: Path) -> list[dict[str, Any]]:
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


@pytest.fixture
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker has a folder of its own."""
    monkeypatch.setattr(remote, "cache_folder", (tmp_path / "cache").joinpath)


@pytest.mark.slow  # a search
@pytest.mark.usefixtures("_apart")
def test_a_search_records_the_same_and_its_folder_and_the_url_have_the_same_files_until_it_is_deleted(
    inline: Any, bucket: Bucket, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    assert recorded(home, {"engine": "inline", "files": bucket.url}) == inline
    files = sorted(str(file.relative_to(home)) for file in home.rglob("*") if file.is_file())
    assert bucket.names == [name for name in files if "autokd.db" not in name]
    assert any("weights" in name for name in files)
    delete_search(Workspace(home), "digits")
    assert bucket.names == []


@pytest.mark.slow  # a search
@pytest.mark.usefixtures("_apart")
def test_a_search_whose_url_is_gone_is_interrupted_and_goes_on_at_another(
    inline: Any, bucket: Bucket, object_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = Depot.send

    def send_and_lose(self: Depot, file: Path) -> None:
        send(self, file)
        if file.name == "result-0.json":
            bucket.remove()

    monkeypatch.setattr(Depot, "send", send_and_lose)
    line = rf"workers\.files: {bucket.url} cannot be used: The specified bucket does not exist; `autokd resume"
    with pytest.raises(
        InterruptedSearchError, match=rf"^search 'digits' was interrupted: {line} digits .*` goes on\.$"
    ):
        recorded(tmp_path, {"engine": "inline", "files": bucket.url})
    monkeypatch.setattr(Depot, "send", send)
    search = find("digits", tmp_path, SILENT)
    workers = search.config.workers.model_copy(update={"files": Bucket.new(object_store).url})
    search.resume(search.config.model_copy(update={"workers": workers}))
    assert read(tmp_path) == inline
