import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import SafetensorError

from autokd.core.files import followed_by, write_atomically, write_json
from autokd.errors import DiskFullError


def test_write_creates_missing_folders_and_leaves_only_the_file(tmp_path: Path):
    path = tmp_path / "a" / "b" / "file.txt"
    write_atomically(path, lambda temporary: temporary.write_text("whole"))
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("ha")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def from_python(temporary: Path) -> None:
    Path("/dev/full").write_text("x")


def from_safetensors(temporary: Path) -> None:
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize("write", [from_python, from_safetensors])
def test_a_full_disk_is_told_apart_from_other_failures(tmp_path: Path, write: Callable[[Path], None]):
    with pytest.raises(DiskFullError, match=rf"^the disk of {tmp_path} is full: make room\.$"):
        write_atomically(tmp_path / "file", write)
    assert list(tmp_path.iterdir()) == []


def test_the_file_appears_only_when_it_is_written(tmp_path: Path):
    path = tmp_path / "file.txt"
    there: list[bool] = []
    write_atomically(path, lambda temporary: (temporary.write_text("x"), there.append(path.exists())))
    assert there == [False]


def test_others_may_read_the_file(tmp_path: Path):
    write_atomically(tmp_path / "file", lambda temporary: temporary.write_text("x"))
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


def test_json_comes_back_as_it_was(tmp_path: Path):
    value = {"b": [1, 2.5, None], "a": {"nested": "ä"}}
    write_json(tmp_path / "value.json", value)
    assert json.loads((tmp_path / "value.json").read_text()) == value


def test_who_follows_hears_of_each_file_once_it_is_there_and_only_within_the_block(tmp_path: Path):
    heard: list[str] = []
    with followed_by(lambda path: heard.append(path.read_text())):
        write_atomically(tmp_path / "a", lambda temporary: temporary.write_text("first"))
        write_json(tmp_path / "b", 2)
    write_json(tmp_path / "c", 3)
    assert heard == ["first", "2\n"]
