import os
from pathlib import Path
from zipfile import ZipFile

from autokd.export.archive import write_archive
from autokd.export.verification import verify_folder


def test_an_archive_is_the_folder_and_the_same_bytes_each_time(exported: Path, tmp_path: Path) -> None:
    write_archive(exported, tmp_path / "first.zip")
    for file in exported.iterdir():
        os.utime(file, (1, 1))
    write_archive(exported, tmp_path / "second.zip")
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()
    with ZipFile(tmp_path / "first.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    unpacked = tmp_path / "unpacked" / exported.name
    assert {file.name: file.read_bytes() for file in unpacked.iterdir()} == {
        file.name: file.read_bytes() for file in exported.iterdir()
    }
    verify_folder(unpacked)
