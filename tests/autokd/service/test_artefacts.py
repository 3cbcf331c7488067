"""An export is made, told and sent, and nothing else is sent."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from autokd.export.manifest import FILES
from autokd.export.verification import verify_folder
from autokd.searches.api import find
from autokd.searches.deletion import delete_search
from autokd.searches.result import SearchResult
from autokd.searches.workspace import Workspace
from autokd.service.artefacts import _make_archive
from autokd.service.settings import Settings

EXPORT = "/api/searches/digits/export"


@pytest.fixture(scope="module")
def exported(searched: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose search was exported; not to be changed."""
    home = Path(shutil.copytree(searched, tmp_path_factory.mktemp("exported") / "home"))
    find("digits", home).export(folder(home))
    return home


def folder(home: Path) -> Path:
    return Workspace(home).exports / "digits"


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(exported, tmp_path / "copy"))


@pytest.mark.slow  # an export, which a fresh interpreter verifies
def test_an_export_that_is_fetched_file_by_file_or_at_once_can_be_verified(
    serve: Any, home: Path, tmp_path: Path
) -> None:
    client = serve(home, "run")
    made = client.post(EXPORT, json={"within": {"params": 10**9}})
    assert made.status_code == 201, made.text
    assert client.get(EXPORT).json() == made.json()
    files, archive = made.json()["files"], made.json()["archive"]
    fetched = tmp_path / "fetched"
    fetched.mkdir()
    for file in [*files, archive]:
        answer = client.get(f"/api/artefacts/{file['sha256']}")
        assert (len(answer.content), hashlib.sha256(answer.content).hexdigest()) == (file["bytes"], file["sha256"])
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{file["name"]}"'
        (fetched / file["name"]).write_bytes(answer.content)
    with ZipFile(fetched / "digits.zip") as unpacked:
        unpacked.extractall(tmp_path)
    (fetched / "digits.zip").unlink()
    for folder in (fetched, tmp_path / "digits"):
        assert {file.name for file in folder.iterdir()} == {*FILES, "manifest.json"}
    assert verify_folder(fetched).max_difference < 1e-4


def test_an_export_says_of_which_student_it_is(serve: Any, copy: Path) -> None:
    client, best = serve(copy), find("digits", copy).best
    told = client.get(EXPORT).json()
    assert (told["trial"], told["accuracy"], told["epochs"]) == (best.trial.number, best.metrics["accuracy"], 2)
    line = f"The student of trial {best.trial.number}, {100 * best.metrics['accuracy']:.2f} % after 2 epochs:"
    assert line in client.get("/fragments/searches/digits/export").text


def test_an_export_of_which_a_file_is_missing_is_none(serve: Any, copy: Path) -> None:
    (folder(copy) / "weights.safetensors").unlink()
    assert serve(copy).get(EXPORT).status_code == 404


def test_the_archive_is_that_of_the_export_which_is_there(serve: Any, copy: Path) -> None:
    client, settings = serve(copy), Settings(Workspace(copy))
    assert client.get(EXPORT).json()["archive"] is None  # as of one that the command line made
    for _ in range(2):
        _make_archive(folder(copy), settings.home.archives / "digits")
        archive = client.get(EXPORT).json()["archive"]
        assert client.get(f"/api/artefacts/{archive['sha256']}").status_code == 200
        manifest = folder(copy) / "manifest.json"
        manifest.write_text(manifest.read_text() + "\n")
        assert client.get(EXPORT).json()["archive"] is None
    assert len(list(settings.home.archives.glob("*/*"))) == 1


def test_a_file_that_was_changed_or_replaced_by_a_link_is_not_sent(serve: Any, copy: Path) -> None:
    client = serve(copy)
    digests = {file["name"]: file["sha256"] for file in client.get(EXPORT).json()["files"]}
    (folder(copy) / "model.py").write_text("import os")
    (folder(copy) / "architecture.json").rename(copy / "elsewhere")
    (folder(copy) / "architecture.json").symlink_to(copy / "elsewhere")
    statuses = {name: client.get(f"/api/artefacts/{digest}").status_code for name, digest in digests.items()}
    assert {name for name, status in statuses.items() if status == 404} == {"model.py", "architecture.json"}


def test_the_export_of_an_earlier_search_of_the_same_name_is_not_this_ones(serve: Any, copy: Path) -> None:
    manifest = folder(copy) / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"search_began": "2020-01-01T00:00:00+00:00"}))
    assert serve(copy).get(EXPORT).status_code == 404


def test_of_a_search_that_is_deleted_while_it_is_exported_nothing_stays(
    serve: Any, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = shutil.copytree(folder(copy), tmp_path / "made")

    def export_late(found: SearchResult, *given: object, **options: object) -> None:
        delete_search(found.home, found.name)
        shutil.copytree(made, folder(copy))

    monkeypatch.setattr(SearchResult, "export", export_late)
    answer = serve(copy, "run").post(EXPORT, json={})
    assert (answer.status_code, "was deleted" in answer.json()["detail"]) == (404, True)
    assert [path for path in Workspace(copy).own_folders("digits") if path.exists()] == []


def test_nothing_is_exported_above_the_quota(serve: Any, copy: Path) -> None:
    answer = serve(copy, "run", quota_bytes=1000).post(EXPORT, json={})
    assert answer.status_code == 507
    assert "but the quota is" in answer.json()["detail"]
