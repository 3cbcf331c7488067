import gzip
import hashlib
import io
import shutil
import urllib.error
import urllib.request
from http.client import IncompleteRead
from pathlib import Path

import pytest

from autokd.data.sources import fashion_mnist as module
from autokd.data.sources.fashion_mnist import FILES, fashion_mnist, local_folder
from autokd.errors import InputError

NAME = next(iter(FILES))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{NAME} is missing: the folder must hold {NAME}, "):
        fashion_mnist(tmp_path)


def test_a_file_of_another_digest_is_damaged(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(gzip.compress(bytes(16 + 28 * 28)))
    with pytest.raises(InputError, match=f"{NAME} is damaged: its SHA-256 is not that of Fashion-MNIST's file"):
        fashion_mnist(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(bytes(100))[:-4], gzip.compress(b"")[:10] + b"\xff" * 20, b""],
    ids=["no gzip", "cut off", "no deflate", "empty"],
)
def test_a_file_that_is_not_gzip_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(InputError, match=f"{NAME} (cannot be read|is damaged)"):
        fashion_mnist(tmp_path)


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), IncompleteRead(b"half")])
def test_a_download_that_is_cut_off_is_an_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class CutOff(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise error

    monkeypatch.setattr(module, "DEBIAN_FOLDER", tmp_path / "nowhere")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: CutOff())
    with pytest.raises(InputError, match=r"cannot be downloaded"):
        fashion_mnist()


@pytest.mark.parametrize("wrong", [gzip.compress(b"other"), b"no gzip"], ids=["another file", "no gzip"])
def test_a_damaged_download_is_not_kept_so_that_it_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: bytes
) -> None:
    monkeypatch.setattr(module, "DEBIAN_FOLDER", tmp_path / "nowhere")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(module, "FILES", dict.fromkeys(FILES, hashlib.sha256(b"right").hexdigest()))
    damaged = [list(FILES)[-1]]

    def fetch(url: str, **_: object) -> io.BytesIO:
        return io.BytesIO(wrong if url.rpartition("/")[2] in damaged else gzip.compress(b"right"))

    monkeypatch.setattr(urllib.request, "urlopen", fetch)
    with pytest.raises(InputError, match=r"is damaged|cannot be downloaded"):
        module._download()
    assert local_folder() is None
    damaged.clear()
    assert module._download() == local_folder()


def test_without_network_the_error_names_the_alternatives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(module, "DEBIAN_FOLDER", tmp_path / "nowhere")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    assert local_folder() is None
    with pytest.raises(
        InputError, match=r"cannot be downloaded \(no network\): install Debian's dataset-fashion-mnist"
    ):
        fashion_mnist()


@pytest.mark.skipif(not module.DEBIAN_FOLDER.exists(), reason="Debian's dataset-fashion-mnist is not installed")
def test_the_real_data_has_a_tenth_of_each_class() -> None:
    dataset = fashion_mnist(module.DEBIAN_FOLDER)
    assert {name: len(split) for name, split in dataset.splits.items()} == {
        "train": 55_000,
        "validation": 5_000,
        "test": 10_000,
    }
    both = dataset.train.labels.bincount() + dataset.validation.labels.bincount()
    assert both.tolist() == [6_000] * 10
    assert dataset.test.labels.bincount().tolist() == [1_000] * 10
    assert dataset.input_shape == (1, 28, 28)


@pytest.mark.skipif(not module.DEBIAN_FOLDER.exists(), reason="Debian's dataset-fashion-mnist is not installed")
def test_labels_of_another_part_are_damaged(tmp_path: Path) -> None:
    labels = "train-labels-idx1-ubyte.gz"
    shutil.copy(module.DEBIAN_FOLDER / "t10k-labels-idx1-ubyte.gz", tmp_path / labels)
    with pytest.raises(InputError, match=f"{labels} is damaged"):
        module._labels(tmp_path, "train")
