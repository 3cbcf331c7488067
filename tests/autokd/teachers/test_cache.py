from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autokd.data.augmentation import Augmentation
from autokd.distillation import Outputs
from autokd.teachers import cache as module
from autokd.teachers.cache import TeacherCache

SHIFT = Augmentation(shift=1)
EMBEDDING = frozenset({"embedding"})


@pytest.fixture
def cache(tmp_path: Path) -> TeacherCache:
    return TeacherCache.at(tmp_path, "teacher", "data", SHIFT, 7, "float32")


@pytest.fixture
def batches() -> list[Outputs]:
    """Of 7 samples in batches of 4 and 3."""
    generator = torch.Generator().manual_seed(0)
    return [Outputs(*(torch.randn(n, width, generator=generator) for width in (3, 5))) for n in (4, 3)]


def test_what_is_read_is_float16_of_what_was_written(cache: TeacherCache, batches: list[Outputs]):
    cache.write("view-0000", batches)
    stored = cache.read("view-0000", EMBEDDING)
    assert torch.equal(stored.logits, torch.cat([batch.logits for batch in batches]).half())
    assert torch.equal(stored.embedding, torch.cat([batch.embedding for batch in batches]).half())


def test_outputs_of_some_samples_are_float32(cache: TeacherCache, batches: list[Outputs]):
    cache.write("validation", batches)
    some = cache.read("validation", EMBEDDING).of(torch.tensor([5, 0]))
    assert (some.logits.dtype, some.embedding.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(some.logits[0], batches[1].logits[1], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(some.embedding[1], batches[0].embedding[0], rtol=1e-3, atol=1e-3)


def test_what_was_not_written_is_not_held(cache: TeacherCache, batches: list[Outputs]):
    assert not cache.holds("view-0000")
    cache.write("view-0000", [Outputs(batch.logits) for batch in batches])
    assert cache.holds("view-0000")
    assert not cache.holds("view-0000", EMBEDDING)
    assert not cache.holds("view-0001")
    assert cache.read("view-0000").embedding is None


def test_a_file_is_complete_or_absent(cache: TeacherCache, batches, monkeypatch: pytest.MonkeyPatch):
    def half(file, logits) -> None:
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_save", half)
    with pytest.raises(KeyboardInterrupt):
        cache.write("view-0000", batches)
    assert list(cache.folder.iterdir()) == []
    assert not cache.holds("view-0000")


def test_outputs_beyond_float16_are_its_largest_and_not_infinite(cache: TeacherCache):
    cache.write("test", [Outputs(torch.tensor([[1e9, -1e9, 1.0]]))])
    assert cache.read("test").logits.tolist() == [[65504, -65504, 1]]


def test_reading_leaves_the_file_alone(cache: TeacherCache, batches: list[Outputs]):
    cache.write("test", batches)
    before = cache.read("test").logits.clone()
    cache.read("test").logits.zero_()
    assert torch.equal(cache.read("test").logits, before)


def test_each_teacher_data_stream_and_precision_has_a_folder(tmp_path: Path):
    usual = ["teacher", "data", SHIFT, 7, "float32"]
    others: list[object] = ["other", "other", replace(SHIFT, flip=True), 8, "bfloat16"]
    changed = [[*usual[:place], other, *usual[place + 1 :]] for place, other in enumerate(others)]
    folders = {TeacherCache.at(tmp_path, *parts).folder for parts in (usual, usual, *changed)}
    assert len(folders) == 6
