import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from autokd.core.files import write_atomically
from autokd.errors import AutoKDError, DiskFullError, InputError
from autokd.export.folder import Export, write_folder
from autokd.export.replacement import check_replaceable, put_in_place


def content(folder: Path) -> dict[str, str]:
    """Everything that lies in a folder."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes().hex()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture
def refused(export: Export) -> Callable[..., str]:
    """Exports to where it may not be done; returns the one line that refused it, nothing having changed."""

    def run(folder: Path, around: Path, force: bool = False) -> str:
        before = content(around)
        with pytest.raises(InputError) as caught:
            write_folder(export, folder, force)
        assert content(around) == before
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return run


@pytest.mark.slow  # a fresh interpreter loads torch
def test_an_earlier_export_of_the_same_search_is_replaced(export: Export, copied: Path) -> None:
    (copied / "__pycache__").mkdir()
    (copied / "__pycache__" / "model.cpython-311.pyc").touch()
    write_folder(replace(export, test=None, facts={"search": "first", "note": "new"}), copied)
    assert json.loads((copied / "manifest.json").read_text())["note"] == "new"
    assert [path.name for path in copied.parent.iterdir()] == ["student"]
    assert not (copied / "__pycache__").exists()


@pytest.mark.slow  # a fresh interpreter loads torch
def test_the_export_of_another_search_is_replaced_by_force_only(export: Export, copied: Path, refused) -> None:
    other = replace(export, test=None, facts={"search": "second"})
    with pytest.raises(InputError, match="holds the export of another search, 'first': choose another folder, or"):
        write_folder(other, copied)
    write_folder(other, copied, force=True)
    assert json.loads((copied / "manifest.json").read_text())["search"] == "second"


def test_a_search_of_the_same_name_that_began_at_another_time_is_another(copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps(manifest | {"search_began": "2026-01-01"}))
    check_replaceable(copied, ("first", "2026-01-01"))
    for origin in (("first", "2026-01-02"), ("first", None), None):
        with pytest.raises(InputError, match="another search"):
            check_replaceable(copied, origin)


def test_a_changed_file_is_replaced_by_force_only(copied: Path, refused) -> None:
    (copied / "model.py").write_text("mine")
    assert "model.py was changed since the export" in refused(copied, copied)
    check_replaceable(copied, ("first", None), force=True)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", ["notes.txt", ".gitattributes", "model.py/notes.txt", "__pycache__/notes.txt"])
def test_whatever_an_export_did_not_write_stays(copied: Path, refused, name: str, force: bool) -> None:
    if name.startswith("model.py"):
        (copied / "model.py").unlink()
    (copied / name).parent.mkdir(exist_ok=True)
    (copied / name).write_text("precious")
    assert "holds more than an export" in refused(copied, copied, force)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "files",
    [
        {"notes.txt": "precious"},
        {"manifest.json": '{"name": "a web page"}'},
        {"manifest.json": "no json"},
        {"manifest.json": '{"format": 1, "files": {}, "metrics": {}}', "notes.txt": "precious"},
    ],
)
def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, refused, files: dict[str, str], force: bool) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert "manifest.json" in refused(tmp_path, tmp_path, force)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("file", "file is not a folder"),
        ("file/student", "cannot be written: Not a directory."),
        ("link", "link is a link"),
        ("dangling", "dangling is a link"),
        ("circle/student", "cannot be written: "),
        ("new/folders/" + "x" * 300, "cannot be written: File name too long."),
        (".", "is the current folder or one around it"),
        ("..", "is the current folder or one around it"),
        ("null\0byte", "cannot be written: "),
    ],
)
def test_what_is_in_the_way_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused, name: str, message: str
) -> None:
    here = tmp_path / "around" / "here"
    (here / "folder").mkdir(parents=True)
    (here / "file").write_text("precious")
    (here / "link").symlink_to("folder")
    (here / "dangling").symlink_to("nowhere")
    (here / "circle").symlink_to("circle")
    monkeypatch.chdir(here)
    assert message in refused(Path(name), tmp_path)
    assert message in refused(here / name, tmp_path) or name == "null\0byte"
    assert not (here / "new").exists()


def test_a_folder_without_rights_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    assert f"there is no right to write to {tmp_path}" in refused(tmp_path / "student", tmp_path)
    (tmp_path / "empty").mkdir()
    assert f"there is no right to write to {tmp_path}" in refused(tmp_path / "empty", tmp_path)


def test_a_mount_point_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused
) -> None:
    (tmp_path / "mounted").mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "mounted")  # only root may mount
    assert "is a mount point, which cannot be replaced: give a folder in it" in refused(tmp_path / "mounted", tmp_path)


def test_a_disk_that_fails_loses_nothing(copied: Path) -> None:
    before = content(copied)
    with (
        pytest.raises(InputError, match="cannot be written: No space left on device"),
        put_in_place(copied, ("first", None), False),
    ):
        raise OSError(28, "No space left on device")
    assert content(copied.parent) == {f"student/{name}": text for name, text in before.items()}


def test_a_full_disk_is_told_with_the_folder_that_was_asked_for(copied: Path) -> None:
    with (
        pytest.raises(DiskFullError, match=rf"^the disk of {copied} is full: make room\.$"),
        put_in_place(copied, None, force=True) as temporary,
    ):
        write_atomically(temporary / "model.py", lambda file: Path("/dev/full").write_text("x"))
    assert {path.name for path in copied.parent.iterdir()} == {copied.name}


def test_folders_that_were_made_on_the_way_go_again(tmp_path: Path) -> None:
    with pytest.raises(AutoKDError, match="differs"), put_in_place(tmp_path / "a" / "b" / "c", None, False):
        raise AutoKDError("it differs")
    assert list(tmp_path.iterdir()) == []
