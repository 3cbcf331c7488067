from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from autokd.data.augmentation import Augmentation
from autokd.data.dataset import Dataset
from autokd.data.stream import TrainingStream, normalise
from autokd.teachers import cache as module
from autokd.teachers.cache import TeacherCache
from autokd.teachers.teacher import Teacher

SHIFT = Augmentation(shift=1)


@pytest.fixture
def stream(dataset: Dataset) -> TrainingStream:
    return TrainingStream(dataset, SHIFT, 16, 3, 7, torch.device("cpu"))


@pytest.fixture
def cache(tmp_path: Path) -> TeacherCache:
    return TeacherCache.at(tmp_path, "teacher", "data", SHIFT, 7, "float32")


def teacher_of(function: Callable[[Tensor], Tensor]) -> Callable[[], Teacher]:
    return lambda: Teacher(function, "name")


def sums(images: Tensor) -> Tensor:
    return images.sum((2, 3)) * torch.tensor([1.0, 0.1, -3.0])


@pytest.mark.parametrize("batch", [7, 500])
def test_what_is_read_is_float16_of_the_live_outputs(cache, stream, batch: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "FORWARD_BATCH", batch)
    for view in range(2):
        cache.ensure(view, stream, teacher_of(sums))
        live = sums(stream.batch(torch.arange(60), view).images)
        assert torch.equal(cache.read(view), live.half())
    assert not torch.equal(cache.read(0), cache.read(1))


def test_the_teacher_is_called_once_for_each_view(cache: TeacherCache, stream: TrainingStream):
    calls: list[int] = []

    def counted() -> Teacher:
        calls.append(1)
        return Teacher(sums, "name")

    for view in (0, 1, 0, 1, 1):
        cache.ensure(view, stream, counted)
    assert len(calls) == 2


def test_a_view_is_complete_or_absent(cache: TeacherCache, stream: TrainingStream, monkeypatch: pytest.MonkeyPatch):
    def half(file, logits) -> None:
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_save", half)
    with pytest.raises(KeyboardInterrupt):
        cache.ensure(0, stream, teacher_of(sums))
    assert list(cache.folder.iterdir()) == []
    monkeypatch.undo()
    cache.ensure(0, stream, teacher_of(sums))
    assert [path.name for path in cache.folder.iterdir()] == ["view-0000.npy"]


def test_outputs_beyond_float16_are_its_largest_and_not_infinite(cache: TeacherCache, stream: TrainingStream):
    cache.ensure(0, stream, teacher_of(lambda images: torch.tensor([1e9, -1e9, 1.0]).expand(len(images), 3)))
    assert cache.read(0)[0].tolist() == [65504, -65504, 1]


def test_reading_leaves_the_file_alone(cache: TeacherCache, stream: TrainingStream):
    cache.ensure(0, stream, teacher_of(sums))
    before = cache.path(0).read_bytes()
    cache.read(0).zero_()
    assert cache.path(0).read_bytes() == before


def test_each_teacher_data_stream_and_precision_has_a_folder(tmp_path: Path):
    usual = ["teacher", "data", SHIFT, 7, "float32"]
    others: list[object] = ["other", "other", replace(SHIFT, flip=True), 8, "bfloat16"]
    changed = [[*usual[:place], other, *usual[place + 1 :]] for place, other in enumerate(others)]
    folders = {TeacherCache.at(tmp_path, *parts).folder for parts in (usual, usual, *changed)}
    assert len(folders) == 6


def test_in_bfloat16_the_teacher_computes_under_autocast(tmp_path: Path, stream: TrainingStream):
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    caches = [TeacherCache.at(tmp_path, "teacher", "data", SHIFT, 7, name) for name in ("float32", "bfloat16")]
    for cache in caches:
        cache.ensure(0, stream, teacher_of(network))
    images = stream.batch(torch.arange(60), 0).images
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        live = network(images)
    assert torch.equal(caches[1].read(0), live.float().half())
    assert not torch.equal(caches[0].read(0), caches[1].read(0))


@pytest.mark.parametrize("shape", [(6, 2), (6,)], ids=["signals", "vectors"])
def test_outputs_of_signals_and_vectors_are_those_of_the_normalised_samples(make_dataset, tmp_path: Path, shape):
    dataset = make_dataset(shape=shape, dtype=torch.float32)
    stream = TrainingStream(dataset, Augmentation(), 16, 1, 7, torch.device("cpu"))
    cache = TeacherCache.at(tmp_path, "teacher", dataset.digest, Augmentation(), 7, "float32")
    network = nn.Sequential(nn.Flatten(), nn.Linear(stream.batch(torch.arange(1), 0).images.numel(), 3))
    cache.ensure(0, stream, teacher_of(network))
    with torch.no_grad():
        live = network(normalise(dataset.train.images, dataset.normalisation))
    assert torch.equal(cache.read(0), live.half())
