"""Images decoded once into files, which all processes map into their memory.

The processes share the pages of a file that are in memory, and none holds a copy. Each data set has a folder of files:

| file | holds |
|---|---|
| `train.pixels` | uint8, `n x height x width x channels`, nothing else |
| `train-labels.npy` | int64, `n` |
| `train-000003.npz` | labels and byte counts of a chunk whose pixels are written |
| `manifest.json` | description of the data set; written last, so a folder that has one is complete |

An interrupted decoding continues with the missing chunks. Two processes that decode the same images at the same time
write the same bytes to the same places, which is wasteful but harmless.
"""

import hashlib
import json
import os
import signal
import sys
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from multiprocessing import current_process, get_context
from pathlib import Path
from pickle import PicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autokd.core.disk import check_space
from autokd.core.files import write_atomically, write_json
from autokd.data.dataset import Dataset, Split, byte_counts, byte_normalisation, numbered_classes
from autokd.data.decoding.pictures import ImageShape, Subset
from autokd.data.decoding.undecoded import Undecoded
from autokd.errors import InputError

__all__ = ["map_decoded"]

VERSION = 1  # of the files' contents
CHUNK_BYTES = 2**26
PROBES = 64  # samples of a split that are compared to recognise another data set of the same name


@dataclass(frozen=True)
class _Job:
    """Decoding of one split."""

    folder: Path
    name: str
    part: Subset
    shape: ImageShape
    samples_per_chunk: int

    @property
    def pixels(self) -> Path:
        return self.folder / f"{self.name}.pixels"

    @property
    def labels(self) -> Path:
        return self.folder / f"{self.name}-labels.npy"

    @property
    def n_chunks(self) -> int:
        return -(-len(self.part) // self.samples_per_chunk)

    def facts(self, chunk: int) -> Path:
        """File with the labels and byte counts of a chunk; it exists once the chunk is decoded."""
        return self.folder / f"{self.name}-{chunk:06d}.npz"

    @cached_property
    def missing(self) -> list[int]:
        """Numbers of the chunks that are not decoded yet."""
        return [chunk for chunk in range(self.n_chunks) if not self.facts(chunk).exists()]

    @property
    def missing_bytes(self) -> int:
        """Approximate size on disk of the missing chunks."""
        return min(len(self.missing) * self.samples_per_chunk, len(self.part)) * self.shape.n_bytes


def map_decoded(images: Undecoded, parts: dict[str, Subset], cache: Path) -> Dataset:
    """Data set of these images, mapped from files under `cache`, which are created if they are missing.

    If a source folder changes, or other data sets of the same name differ in one of `PROBES` samples, new files are
    created.

    Args:
        images: The images to decode.
        parts: All three splits.
        cache: Folder of decoded data sets.

    Raises:
        InputError: If an image cannot be read, or there is not enough space on disk.
    """
    folder = cache / _fingerprint(images, parts)
    samples_per_chunk = max(1, CHUNK_BYTES // images.shape.n_bytes)
    jobs = [_Job(folder, name, part, images.shape, samples_per_chunk) for name, part in parts.items()]
    manifest = folder / "manifest.json"
    if not os.path.exists(manifest):
        with _disk_errors(folder):
            write_json(manifest, _decode(images, jobs))
    facts = json.loads(manifest.read_text())
    dataset = _dataset(images, jobs)
    means, deviations = facts["normalisation"]
    # Set the cached properties, which would otherwise read all pixels again; `dataclasses.replace` drops them.
    vars(dataset).update(digest=facts["digest"], normalisation=(tuple(means), tuple(deviations)))
    return dataset


def _fingerprint(images: Undecoded, parts: dict[str, Subset]) -> str:
    """Name of the folder: a digest of the source that does not need all images to be decoded."""
    digest = hashlib.sha256(json.dumps([VERSION, asdict(images.shape), images.class_names]).encode())
    for name, part in parts.items():
        fingerprint = getattr(part.pictures, "_fingerprint", "")
        digest.update(f"{name}{len(part.pictures)}{fingerprint}".encode())
        digest.update(part.indices.numpy().data)
        digest.update(_probed(part, images.shape))
    return digest.hexdigest()[:24]


def _probed(part: Subset, shape: ImageShape) -> bytes:
    """Digest of some evenly spaced samples."""
    digest = hashlib.sha256()
    positions = range(0, len(part), max(1, len(part) // PROBES))
    for position in positions[:PROBES]:
        pixels, label = part.pixels(position, shape)
        if position == 0 and not np.array_equal(pixels, part.pixels(position, shape)[0]):
            raise InputError(
                f"{part.what}: sample {int(part.indices[0])} is another image each time it is read: use "
                "training.augmentation for random changes."
            )
        digest.update(np.ascontiguousarray(pixels).data)
        digest.update(f"{label}".encode())
    return digest.digest()


def _decode(images: Undecoded, jobs: list[_Job]) -> dict[str, Any]:
    """Decode all images into the folder, and return the contents of its manifest."""
    folder = jobs[0].folder
    folder.mkdir(parents=True, exist_ok=True)
    advice = "give another folder as `data.cache`, or a smaller `data.image_size` or `data.subset`"
    check_space(folder, sum(job.missing_bytes for job in jobs), "decoded images", advice)
    for job in jobs:
        with job.pixels.open("ab") as file:
            file.truncate(len(job.part) * job.shape.n_bytes)
    _decode_missing(images.name, jobs)
    counts = {job.name: _collect_labels(job) for job in jobs}
    dataset = _dataset(images, jobs)
    return {
        "name": images.name,
        "form": asdict(images.shape),
        "samples": {job.name: len(job.part) for job in jobs},
        "class_names": dataset.class_names,
        "digest": dataset.digest,
        "normalisation": byte_normalisation(counts["train"]),
    }


def _decode_missing(name: str, jobs: list[_Job]) -> None:
    """Decode the missing chunks, with progress on stderr if that is a terminal."""
    missing = [(which, chunk) for which, job in enumerate(jobs) for chunk in job.missing]
    n_chunks, n_done = sum(job.n_chunks for job in jobs), sum(job.n_chunks for job in jobs) - len(missing)
    for _ in _decoded_chunks(jobs, missing):
        n_done += 1
        if sys.stderr.isatty():
            end = "\n" if n_done == n_chunks else ""
            print(f"\rdata {name}: {n_done / n_chunks:.1%} decoded", end=end, file=sys.stderr, flush=True)


def _decoded_chunks(jobs: list[_Job], missing: list[tuple[int, int]]) -> Iterator[None]:
    """Decode in as many processes as there are cores, and yield once for each decoded chunk.

    Args:
        jobs: The splits to decode.
        missing: Number of a job and of a chunk of it, for each missing chunk.
    """
    n_processes = min(_n_cores(), len(missing))
    if n_processes <= 1 or current_process().daemon:  # daemonic processes may not have children
        for which, chunk in missing:
            _decode_chunk(jobs[which], chunk)
            yield
        return
    context = get_context("spawn")  # a fork would copy the locks of threads
    with ProcessPoolExecutor(n_processes, context, _begin_decoding, (jobs,)) as pool:
        try:
            for done in as_completed(_submitted(pool, jobs, missing)):
                done.result()
                yield
        except BrokenProcessPool:
            raise InputError(
                f"{jobs[0].part.what}: a decoding process was killed, perhaps for lack of memory; start again to "
                "continue."
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, jobs: list[_Job], missing: list[tuple[int, int]]) -> list[Future[None]]:
    try:
        return [pool.submit(_decode_own, which, chunk) for which, chunk in missing]
    except (PicklingError, AttributeError, TypeError) as error:
        raise InputError(f"{jobs[0].part.what}: cannot be pickled for the decoding processes: {error}.") from error


_own_jobs: list[_Job] = []
"""Jobs of this decoding process, which are sent to it once and not with every chunk."""


def _begin_decoding(jobs: list[_Job]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    _own_jobs.extend(jobs)


def _decode_own(which: int, chunk: int) -> None:
    _decode_chunk(_own_jobs[which], chunk)


def _decode_chunk(job: _Job, chunk: int) -> None:
    """Write the pixels of one chunk, and then the file of its labels, which marks the chunk as decoded."""
    start = chunk * job.samples_per_chunk
    positions = range(start, min(start + job.samples_per_chunk, len(job.part)))
    pixels, labels = np.empty((len(positions), *job.shape.sizes), np.uint8), np.empty(len(positions), np.int64)
    for row, position in enumerate(positions):
        pixels[row], labels[row] = job.part.pixels(position, job.shape)
    with job.pixels.open("r+b") as file:
        file.seek(start * job.shape.n_bytes)
        file.write(pixels.data)
        file.flush()
        os.fsync(file.fileno())
    counts = byte_counts(torch.from_numpy(pixels)).numpy()
    write_atomically(job.facts(chunk), lambda path: _save_facts(path, labels, counts))


def _collect_labels(job: _Job) -> Tensor:
    """Write the labels of a split into one file, and return its byte counts."""
    facts = [np.load(job.facts(chunk)) for chunk in range(job.n_chunks)]
    labels = np.concatenate([each["labels"] for each in facts])
    write_atomically(job.labels, lambda path: _save(path, labels))
    return torch.from_numpy(np.sum([each["counts"] for each in facts], axis=0))


def _save(path: Path, array: np.ndarray[Any, Any]) -> None:
    with path.open("wb") as file:
        np.save(file, array)


def _save_facts(path: Path, labels: np.ndarray[Any, Any], counts: np.ndarray[Any, Any]) -> None:
    with path.open("wb") as file:
        np.savez(file, labels=labels, counts=counts)


def _dataset(images: Undecoded, jobs: Iterable[_Job]) -> Dataset:
    """Data set mapped from the decoded files."""
    splits = {job.name: _split(job) for job in jobs}
    class_names = images.class_names or numbered_classes(splits.values(), images.name)
    return Dataset(images.name, **splits, class_names=class_names)


def _split(job: _Job) -> Split:
    try:
        # Read-only, because Linux refuses a private writable mapping larger than the machine's memory.
        pixels = np.memmap(job.pixels, np.uint8, "r", shape=(len(job.part), *job.shape.sizes))
        labels = torch.from_numpy(np.load(job.labels))
    except (OSError, ValueError) as error:
        raise InputError(f"decoded images in {job.folder} are damaged: {error}; delete that folder.") from None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        images = torch.from_numpy(pixels)
    return Split(images, labels, is_mapped=True)


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"decoded images cannot be written to {folder}: {error}; give another folder as `data.cache`."
        ) from None
