"""Fashion-MNIST (Xiao et al. 2017, https://arxiv.org/abs/1708.07747): 70,000 grey images of 28 x 28, MIT licence."""

import gzip
import hashlib
import urllib.request
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor

from autokd.core.cache_folder import cache_folder
from autokd.core.files import UNREADABLE, write_atomically
from autokd.data.dataset import Dataset, Split, hold_out
from autokd.errors import InputError

__all__ = ["fashion_mnist", "local_folder"]

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # package dataset-fashion-mnist
DOWNLOAD_FROM = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
DOWNLOAD_SECONDS = 20  # timeout
CLASS_NAMES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
# SHA-256 of the uncompressed contents, since the gzip headers of mirrors differ.
FILES = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


def fashion_mnist(folder: Path | None = None, validation: int = 5_000) -> Dataset:
    """Fashion-MNIST; by default from Debian's package, the user's cache, or downloaded into that cache.

    Args:
        folder: Folder with the four `*-ubyte.gz` files, if they are elsewhere.
        validation: Number of training samples for the validation split.

    Raises:
        InputError: If a file is missing, damaged, or cannot be fetched.
    """
    folder = folder or local_folder() or _download()
    train = Split(_images(folder, "train"), _labels(folder, "train"))
    test = Split(_images(folder, "t10k"), _labels(folder, "t10k"))
    kept, held_out = hold_out(train, validation)
    return Dataset("fashion-mnist", kept, held_out, test, CLASS_NAMES)


def _images(folder: Path, part: str) -> Tensor:
    return _content(folder, f"{part}-images-idx3-ubyte.gz")[16:].reshape(-1, 28, 28, 1)


def _labels(folder: Path, part: str) -> Tensor:
    return _content(folder, f"{part}-labels-idx1-ubyte.gz")[8:].long()


def _content(folder: Path, name: str) -> Tensor:
    """Bytes of one file, including its header, after a check of its digest."""
    try:
        content = gzip.decompress((folder / name).read_bytes())
    except FileNotFoundError:
        raise InputError(f"{folder / name} is missing: the folder must hold {', '.join(FILES)}.") from None
    except UNREADABLE as error:
        raise InputError(f"{folder / name} cannot be read: {error}.") from None
    _check(content, name, folder / name)
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _check(content: bytes, name: str, where: Path | str) -> None:
    if hashlib.sha256(content).hexdigest() != FILES[name]:
        raise InputError(f"{where} is damaged: its SHA-256 is not that of Fashion-MNIST's file.")


def local_folder() -> Path | None:
    """Folder on this machine that has all files; None if there is none."""
    return next(
        (folder for folder in (DEBIAN_FOLDER, _cache()) if all((folder / name).exists() for name in FILES)), None
    )


def _cache() -> Path:
    return cache_folder("fashion-mnist")


def _download() -> Path:
    folder = _cache()
    for name in FILES:
        try:
            with urllib.request.urlopen(DOWNLOAD_FROM + name, timeout=DOWNLOAD_SECONDS) as response:
                compressed = response.read()
            content = gzip.decompress(compressed)
        except (*UNREADABLE, HTTPException) as error:
            raise InputError(
                "Fashion-MNIST is not on this machine and cannot be downloaded "
                f"({getattr(error, 'reason', error)}): install Debian's dataset-fashion-mnist, or give the folder of "
                "its four files as `data.folder`."
            ) from None
        _check(content, name, DOWNLOAD_FROM + name)
        write_atomically(folder / name, lambda path, data=compressed: path.write_bytes(data))  # type: ignore[misc]
    return folder
