from pathlib import Path

import pytest
import torch

from autokd.distillation import Outputs
from autokd.teachers.outputs import shapes as module
from autokd.teachers.outputs.shapes import OutputShapes

SHAPES = OutputShapes(100, 10, 64, ((16, 8, 8), (32, 4, 4)))


def test_shapes_are_those_of_the_outputs() -> None:
    outputs = Outputs(torch.zeros(2, 10), torch.zeros(2, 64), (torch.zeros(2, 16, 8, 8), torch.zeros(2, 32, 4, 4)))
    assert OutputShapes.of(outputs, 100) == SHAPES
    assert OutputShapes.of(Outputs(torch.zeros(2, 10)), 100) == OutputShapes(100, 10)


def test_shapes_are_read_as_they_were_written(tmp_path: Path) -> None:
    SHAPES.save(tmp_path / "shapes.json")
    assert OutputShapes.load(tmp_path / "shapes.json") == SHAPES


@pytest.mark.parametrize(("samples", "sizes"), [(1, [1]), (4, [4]), (5, [4, 1]), (8, [4, 4]), (9, [4, 4, 1])])
def test_chunks_are_all_samples_in_order(monkeypatch: pytest.MonkeyPatch, samples: int, sizes: list[int]) -> None:
    monkeypatch.setattr(module, "CHUNK_SAMPLES", 4)
    chunks = OutputShapes(samples, 10).chunks
    assert [sample for chunk in chunks for sample in chunk] == list(range(samples))
    assert [len(chunk) for chunk in chunks] == sizes
