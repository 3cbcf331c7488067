import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from autokd.data.augmentation import Augmentation
from autokd.data.dataset import Dataset
from autokd.data.decoding import mapped
from autokd.data.decoding.decode import decode
from autokd.data.sources.folder import from_folder
from autokd.data.sources.map_style import from_map_style
from autokd.data.stream import TrainingStream, evaluation_batches
from autokd.errors import InputError

CPU = torch.device("cpu")
EVERYTHING = Augmentation(shift=2, flip=True, cutout=3, mixup=0.4, cutmix=1.0)


class Noise:
    """Random but fixed colour images, which record the indices that are read."""

    def __init__(self, n: int = 60, seed: int = 0) -> None:
        self.images = np.random.default_rng(seed).integers(0, 256, (n, 6, 5, 3), dtype=np.uint8)
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        self.asked.append(index)
        return self.images[index], index % 3


@pytest.fixture(autouse=True)
def _small_chunks_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "CHUNK_BYTES", 7 * 90)
    monkeypatch.setattr(mapped, "PROBES", 4)
    monkeypatch.setattr(mapped, "_n_cores", lambda: 1)


def on_disk(pictures: Any, cache: Path, **options: Any) -> Dataset:
    return decode(from_map_style({"train": pictures}, "noise"), memory_bytes=1, cache=cache, **options)


def in_memory(pictures: Any, **options: Any) -> Dataset:
    return decode(from_map_style({"train": pictures}, "noise"), **options)


def test_mapped_data_are_those_in_memory(tmp_path: Path) -> None:
    options = {"validation": 11, "subset": 30}
    found, expected = on_disk(Noise(), tmp_path, **options), in_memory(Noise(), **options)
    assert (found.digest, found.normalisation) == (expected.digest, expected.normalisation)
    for mine, theirs in zip(found.splits.values(), expected.splits.values(), strict=True):
        assert mine.is_mapped
        assert not theirs.is_mapped
        assert torch.equal(mine.images, theirs.images)
        assert torch.equal(mine.labels, theirs.labels)


def test_the_manifest_has_digest_and_normalisation_of_the_pixels(tmp_path: Path) -> None:
    dataset = on_disk(Noise(), tmp_path)
    again = Dataset(dataset.name, dataset.train, dataset.validation, dataset.test, dataset.class_names)
    assert dataset.digest == again.digest
    assert dataset.normalisation == again.normalisation


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(shift=2), EVERYTHING], ids=str)
def test_batches_of_mapped_data_are_those_of_data_in_memory(tmp_path: Path, augmentation: Augmentation) -> None:
    found, expected = (
        TrainingStream(dataset, augmentation, 8, 2, 3, CPU)
        for dataset in (on_disk(Noise(), tmp_path), in_memory(Noise()))
    )
    n = expected.steps_per_epoch
    for mine, theirs in zip(found.batches(n, 2 * n), expected.batches(n, 2 * n), strict=True):
        assert torch.equal(mine.images, theirs.images)
        assert torch.equal(mine.labels, theirs.labels)
        assert torch.equal(mine.indices, theirs.indices)
    some = torch.tensor([5, 0, 3])
    assert torch.equal(*(stream.batch(some, 1).images for stream in (found, expected)))


def test_evaluation_of_mapped_data_is_that_of_data_in_memory(tmp_path: Path) -> None:
    found, expected = on_disk(Noise(), tmp_path), in_memory(Noise())
    batches = [torch.cat(list(evaluation_batches(d.validation, d.normalisation, 2))) for d in (found, expected)]
    assert torch.equal(*batches)


def test_nothing_is_decoded_twice(tmp_path: Path) -> None:
    first, second = Noise(), Noise()
    on_disk(first, tmp_path)
    on_disk(second, tmp_path)
    assert set(first.asked) == set(range(60))
    assert len(second.asked) < 20  # the probes


def test_an_interrupted_decoding_continues_with_the_missing_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = mapped._decode_chunk
    done: list[Any] = []

    def interrupted(job: Any, chunk: int) -> None:
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(chunk)
        whole(job, chunk)

    monkeypatch.setattr(mapped, "_decode_chunk", interrupted)
    with pytest.raises(KeyboardInterrupt):
        on_disk(Noise(), tmp_path)
    assert not list(tmp_path.glob("*/manifest.json"))
    monkeypatch.setattr(mapped, "_decode_chunk", lambda job, chunk: (done.append(chunk), whole(job, chunk)))
    assert on_disk(Noise(), tmp_path).digest == in_memory(Noise()).digest
    assert done[:7] == list(range(7))  # of 49 training images, 7 in a chunk


def test_other_images_of_the_same_name_get_other_files(tmp_path: Path) -> None:
    digests = {on_disk(Noise(seed=seed), tmp_path).digest for seed in (0, 1, 0)}
    assert len(digests) == len(list(tmp_path.iterdir())) == 2


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "images" / "train" / "a" / "0007.png"
    file.parent.mkdir(parents=True)
    for number in range(40):
        Image.new("L", (3, 3), number).save(file.with_name(f"{number:04}.png"))
    (file.parents[1] / "b").mkdir()
    Image.new("L", (3, 3)).save(file.parents[1] / "b" / "0040.png")
    before = decode(from_folder(tmp_path / "images"), memory_bytes=1, cache=tmp_path / "cache")
    Image.new("L", (3, 3), 200).save(file)
    after = decode(from_folder(tmp_path / "images"), memory_bytes=1, cache=tmp_path / "cache")
    assert (before.train.images == 200).sum() == 0
    assert sum(int((split.images == 200).sum()) for split in after.splits.values()) == 9


def test_random_images_are_rejected(tmp_path: Path) -> None:
    class Restless(Noise):
        def __getitem__(self, index: int) -> tuple[Any, int]:
            return np.random.default_rng(len(self.asked)).permuted(super().__getitem__(index)[0]), 0

    with pytest.raises(InputError, match=r"is another image each time it is read: use training\.augmentation"):
        on_disk(Restless(), tmp_path)


def test_damaged_files_and_full_disks_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_disk(Noise(), tmp_path)
    (manifest,) = tmp_path.glob("*/manifest.json")
    assert json.loads(manifest.read_text())["samples"] == {"train": 49, "validation": 5, "test": 6}
    (manifest.parent / "train.pixels").write_bytes(b"short")
    with pytest.raises(InputError, match=r"are damaged: .*; delete that folder"):
        on_disk(Noise(), tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=0))
    with pytest.raises(
        InputError, match=r"decoded images need .* but the disk has 0 MB left: give another folder as `data\.cache`"
    ):
        on_disk(Noise(seed=1), tmp_path)


@pytest.mark.slow  # starts processes, each of which imports torch
def test_several_processes_decode_the_same_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        file = tmp_path / "images" / "train" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (30, 20), number).save(file)
    images = from_folder(tmp_path / "images")
    monkeypatch.setattr(mapped, "_n_cores", lambda: 2)
    found = decode(images, memory_bytes=1, cache=tmp_path / "cache")
    assert found.digest == decode(images).digest


def test_a_data_set_that_cannot_be_pickled_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Local(Noise):
        pass

    monkeypatch.setattr(mapped, "_n_cores", lambda: 2)
    with pytest.raises(InputError, match=r"data noise, train: cannot be pickled for the decoding processes: .*Local"):
        on_disk(Local(), tmp_path)
