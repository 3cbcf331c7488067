"""Decoding of images, once: into memory, or into files of pixels that all processes map into their memory."""

from pathlib import Path

import numpy as np
import torch

from autokd.core.cache_folder import cache_folder
from autokd.data.dataset import Dataset, Split, complete_splits, hold_out, numbered_classes
from autokd.data.decoding.mapped import map_decoded
from autokd.data.decoding.pictures import ImageShape, Subset
from autokd.data.decoding.undecoded import Undecoded
from autokd.errors import InputError

__all__ = ["decode"]

MEMORY_BYTES = 4 * 10**9  # most bytes of pixels that a process holds in memory


def decode(
    images: Undecoded,
    validation: int | None = None,
    subset: int | None = None,
    memory_bytes: int | None = None,
    cache: Path | None = None,
) -> Dataset:
    """Data set of decoded images, in memory if they fit, otherwise mapped from files in a cache.

    Only the samples that are used are decoded. Both ways give the same samples and splits, with the same digest.

    Args:
        images: The images. A missing split is held out of the training images.
        validation: Number of samples of a missing validation split; a tenth of the training samples by default.
        subset: Number of training samples to keep, drawn at random with a fixed seed; all by default.
        memory_bytes: Most bytes of pixels that are held in memory; 4 GB by default.
        cache: Folder of decoded files; by default one in the user's cache.

    Raises:
        InputError: If an image cannot be read, or the files cannot be written.
    """
    parts = complete_splits(images.parts, validation)
    if subset is not None:
        parts["train"] = _some(parts["train"], subset, images.name)
    n_bytes = images.shape.n_bytes * sum(map(len, parts.values()))
    if n_bytes > (MEMORY_BYTES if memory_bytes is None else memory_bytes):
        return map_decoded(images, parts, cache or cache_folder("decoded"))
    splits = {name: _in_memory(part, images.shape) for name, part in parts.items()}
    class_names = images.class_names or numbered_classes(splits.values(), images.name)
    return Dataset(images.name, **splits, class_names=class_names)


def _some(train: Subset, n: int, name: str) -> Subset:
    if not 0 < n <= len(train):
        raise InputError(f"data {name}: a subset must be 1..{len(train)} samples, but got {n}.")
    return hold_out(train, len(train) - n)[0]


def _in_memory(part: Subset, shape: ImageShape) -> Split:
    pixels, labels = np.empty((len(part), *shape.sizes), np.uint8), np.empty(len(part), np.int64)
    for position in range(len(part)):
        pixels[position], labels[position] = part.pixels(position, shape)
    return Split(torch.from_numpy(pixels), torch.from_numpy(labels))
