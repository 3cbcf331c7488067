import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autokd.data.augmentation import Augmentation
from autokd.distillation import Outputs
from autokd.teachers.outputs.cache import TeacherCache
from autokd.teachers.outputs.shapes import OutputKind

SHIFT = Augmentation(shift=1)
ALL: frozenset[OutputKind] = frozenset({"logits", "embedding", "features"})


@pytest.fixture
def cache(tmp_path: Path) -> TeacherCache:
    return TeacherCache.at(tmp_path, "teacher", "data", SHIFT, 7, "float32")


@pytest.fixture
def batches() -> list[Outputs]:
    """Of 7 samples in batches of 4 and 3, with maps of two layers."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    return [Outputs(normal(n, 3), normal(n, 5), (normal(n, 2, 4, 4), normal(n, 6, 2, 2))) for n in (4, 3)]


def test_what_is_read_is_float16_of_what_was_written(cache: TeacherCache, batches: list[Outputs]) -> None:
    cache.write("view-0000", batches, 7, ALL)
    stored = cache.read("view-0000", ALL)
    assert torch.equal(stored.logits, torch.cat([batch.logits for batch in batches]).half())
    embedding = torch.cat([batch.embedding for batch in batches]).half()  # type: ignore[misc]
    assert np.array_equal(stored.chunks["embedding"][0], embedding.numpy())
    rows = [torch.cat([maps.permute(0, 2, 3, 1).flatten(1) for maps in batch.features], 1) for batch in batches]
    assert np.array_equal(stored.chunks["features"][0], torch.cat(rows).half().numpy())


def test_chunks_are_read_one_after_another(cache: TeacherCache, batches: list[Outputs]) -> None:
    for chunk, batch in enumerate(batches):
        cache.write("view-0000", [batch], len(batch.logits), chunk=chunk)
    logits = cache.read("view-0000", n_chunks=2).logits
    assert torch.equal(logits, torch.cat([batch.logits for batch in batches]).half())


def test_what_was_not_written_is_not_held(cache: TeacherCache, batches: list[Outputs]) -> None:
    assert not cache.holds("view-0000")
    cache.write("view-0000", batches, 7)
    assert cache.holds("view-0000")
    assert not cache.holds("view-0000", ALL)
    assert not cache.holds("view-0000", chunk=1)
    assert not cache.holds("view-0001")


def test_a_file_is_an_array_of_numpys_format(cache: TeacherCache, batches: list[Outputs]) -> None:
    cache.write("test", batches, 7)
    assert np.array_equal(np.load(next(cache.folder.iterdir())), cache.read("test").logits.numpy())


def test_a_chunk_is_complete_or_absent(cache: TeacherCache, batches: list[Outputs]) -> None:
    def broken():
        yield batches[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.write("view-0000", broken(), 7, ALL)
    assert list(cache.folder.iterdir()) == []
    assert not cache.holds("view-0000")


@pytest.mark.parametrize("place", [0, 150, -1], ids=["header", "values", "digest"])
def test_a_chunk_with_a_changed_byte_counts_as_absent(cache: TeacherCache, batches: list[Outputs], place: int) -> None:
    cache.write("view-0000", batches, 7)
    file = next(cache.folder.iterdir())
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    assert not cache.holds("view-0000")
    cache.write("view-0000", batches, 7)
    assert cache.holds("view-0000")


@pytest.mark.parametrize("left", [0, 20, 150])
def test_a_chunk_that_was_cut_off_counts_as_absent(cache: TeacherCache, batches: list[Outputs], left: int) -> None:
    cache.write("view-0000", batches, 7)
    file = next(cache.folder.iterdir())
    file.write_bytes(file.read_bytes()[:left])
    assert not cache.holds("view-0000")


def test_several_may_write_a_chunk_at_once_while_another_reads_it(cache: TeacherCache, batches: list[Outputs]) -> None:
    cache.write("view-0000", batches, 7)
    before = cache.read("view-0000")
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(cache.write, "view-0000", batches, 7, ALL) for _ in range(8)]:
            done.result()
    assert torch.equal(before.logits, cache.read("view-0000").logits)
    assert cache.holds("view-0000", ALL)
    assert len(list(cache.folder.iterdir())) == len(ALL)


def test_outputs_beyond_float16_are_its_largest_and_not_infinite(cache: TeacherCache) -> None:
    cache.write("test", [Outputs(torch.tensor([[1e9, -1e9, 1.0]]))], 1)
    assert cache.read("test").logits.tolist() == [[65504, -65504, 1]]


@pytest.mark.parametrize("offset", [-30_000.0, -3_000.0, 1_000.0, 65.0])
def test_probabilities_survive_a_large_offset_of_the_logits(cache: TeacherCache, offset: float) -> None:
    logits = torch.randn(50, 10, generator=torch.Generator().manual_seed(0))
    cache.write("train", [Outputs(logits + offset)], 50)
    found = cache.read("train").logits.float()
    torch.testing.assert_close(found.softmax(1), logits.softmax(1), rtol=0, atol=2e-3)


def test_logits_without_a_large_offset_are_stored_as_they_are(cache: TeacherCache) -> None:
    logits = torch.randn(50, 10, generator=torch.Generator().manual_seed(0)) * 20 + 40
    assert logits.mean(1).abs().max() < 64
    cache.write("train", [Outputs(logits)], 50)
    assert torch.equal(cache.read("train").logits, logits.half())


def test_what_is_to_be_stored_must_be_there(cache: TeacherCache) -> None:
    with pytest.raises(ValueError, match="no embedding"):
        cache.write("test", [Outputs(torch.zeros(1, 3))], 1, frozenset({"embedding"}))


def test_a_file_of_an_older_layout_is_passed_over(cache: TeacherCache) -> None:
    cache.folder.mkdir(parents=True)
    np.save(cache.folder / "validation.npy", np.zeros((7, 3), np.float16))
    assert not cache.holds("validation")


def test_each_teacher_with_its_layers_data_stream_and_precision_has_a_folder(tmp_path: Path) -> None:
    usual: list[Any] = ["teacher", "data", SHIFT, 7, "float32", None]
    others: list[object] = ["other", "other", replace(SHIFT, flip=True), 8, "bfloat16", ("stem",)]
    changed = [[*usual[:place], other, *usual[place + 1 :]] for place, other in enumerate(others)]
    folders = {TeacherCache.at(tmp_path, *parts).folder for parts in (usual, usual, *changed)}
    assert len(folders) == 7


def test_outputs_stored_before_samples_could_be_mixed_are_found_again(tmp_path: Path) -> None:
    parts = ["teacher", "data", {"shift": 1, "flip": False, "cutout": 0}, 7, "float32"]
    name = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    assert TeacherCache.at(tmp_path, "teacher", "data", SHIFT, 7, "float32").folder.name == name
    assert TeacherCache.at(tmp_path, "teacher", "data", replace(SHIFT, mixup=0.2), 7, "float32").folder.name != name
