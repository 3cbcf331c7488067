import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from autokd.distillation import Outputs
from autokd.errors import InputError
from autokd.teachers.outputs import reader as view_reader
from autokd.teachers.outputs.cache import TeacherCache
from autokd.teachers.outputs.reader import ViewReader
from autokd.teachers.outputs.shapes import OutputKind

CPU = torch.device("cpu")
N, CHUNK = 10, 4
SHAPES = ((2, 4, 4), (6, 2, 2))
ALL: frozenset[OutputKind] = frozenset({"logits", "embedding", "features"})


@pytest.fixture
def outputs() -> Outputs:
    """Of 10 samples; float16 holds all values."""
    generator = torch.Generator().manual_seed(0)
    widths = ((3,), (5,), *SHAPES)
    logits, embedding, *maps = (torch.randn(N, *width, generator=generator).half().float() for width in widths)
    return Outputs(logits, embedding, tuple(maps))


@pytest.fixture(params=[2**20, 0], ids=["resident", "read ahead"])
def reader(request, outputs: Outputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ViewReader]:
    monkeypatch.setattr(view_reader, "RESIDENT_BYTES", request.param)
    cache = TeacherCache(tmp_path)
    for chunk, first in enumerate(range(0, N, CHUNK)):
        some = slice(first, first + CHUNK)
        piece = Outputs(outputs.logits[some], outputs.embedding[some], tuple(maps[some] for maps in outputs.features))
        cache.write("view", [piece], len(piece.logits), ALL, chunk)
    reader = ViewReader(cache.read("view", ALL, 3), SHAPES, CPU)
    yield reader
    reader.close()


def same(found: Outputs, outputs: Outputs, indices: torch.Tensor) -> bool:
    pairs: Any = zip(*((own.logits, own.embedding, *own.features) for own in (found, outputs)), strict=True)
    return all(a.dtype == torch.float32 and torch.equal(a, b[indices]) for a, b in pairs)


def test_outputs_are_those_of_the_samples_asked_for(reader: ViewReader, outputs: Outputs) -> None:
    indices = torch.tensor([9, 0, 5, 4, 0])
    assert same(reader.of(indices), outputs, indices)


def test_a_reader_that_is_closed_again_closes_no_other_file(reader: ViewReader, tmp_path: Path) -> None:
    reader.close()
    with (tmp_path / "other").open("w") as other:  # gets the number of a file that is closed
        reader.close()
        other.write("text")
    assert (tmp_path / "other").read_text() == "text"


def test_announced_samples_are_given_in_turn(reader: ViewReader, outputs: Outputs) -> None:
    batches = [torch.randperm(N, generator=torch.Generator().manual_seed(k))[:3] for k in range(4)]
    for indices in batches:
        reader.expect(indices)
    assert all(same(reader.of(indices), outputs, indices) for indices in batches)


def test_announced_samples_that_are_never_asked_for_do_no_harm(reader: ViewReader, outputs: Outputs) -> None:
    left, right = torch.tensor([1, 2]), torch.tensor([3, 4])
    for indices in (left, right):
        reader.expect(indices)
    assert same(reader.of(right), outputs, right)
    assert same(reader.of(left), outputs, left)


def test_a_file_that_is_cut_off_in_use_matters_only_where_it_is_still_read(reader: ViewReader, tmp_path: Path) -> None:
    for file in tmp_path.iterdir():
        os.truncate(file, 128)
    refused = pytest.raises(InputError, match=r"view-[a-z]+-00002.npy was cut off while it was in use")
    with refused if reader._large else nullcontext():
        reader.of(torch.tensor([9]))


def test_a_feature_map_of_images_is_channels_last(reader: ViewReader) -> None:
    assert all(
        maps.is_contiguous(memory_format=torch.channels_last) for maps in reader.of(torch.tensor([3, 1])).features
    )
