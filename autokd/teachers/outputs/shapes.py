"""Shapes of a teacher's outputs."""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Literal

from autokd.core.files import write_json
from autokd.distillation import Outputs

__all__ = ["CHUNK_SAMPLES", "OUTPUT_KINDS", "OutputKind", "OutputShapes"]

OutputKind = Literal["logits", "embedding", "features"]

OUTPUT_KINDS: tuple[OutputKind, ...] = ("logits", "embedding", "features")
"""Kinds of outputs; if the disk is too small, the last ones are dropped first."""

CHUNK_SAMPLES = 8192
"""Samples of a view that one worker computes at a time and stores in one file; a crash loses at most these."""

VALUE_BYTES = 2  # float16


@dataclass(frozen=True)
class OutputShapes:
    """Shapes of a teacher's outputs for one sample.

    Attributes:
        samples: Number of training samples.
        classes: Number of logits.
        embedding: Width of the embedding; 0 if there is none.
        features: Channels and resolution of each feature map.
    """

    samples: int
    classes: int
    embedding: int = 0
    features: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of(cls, outputs: Outputs, samples: int) -> "OutputShapes":
        """Shapes of these outputs, for a training split of `samples` samples."""
        width = 0 if outputs.embedding is None else outputs.embedding.shape[1]
        return cls(samples, outputs.logits.shape[1], width, tuple(tuple(maps.shape[1:]) for maps in outputs.features))

    @classmethod
    def load(cls, path: Path) -> "OutputShapes":
        """Shapes from a file that `save` wrote."""
        values = json.loads(path.read_text())
        return cls(**values | {"features": tuple(map(tuple, values["features"]))})

    def save(self, path: Path) -> None:
        """Write the shapes to a file, completely or not at all."""
        write_json(path, asdict(self))

    @property
    def chunks(self) -> list[range]:
        """Positions of the training samples in each chunk."""
        firsts = range(0, self.samples, CHUNK_SAMPLES)
        return [range(first, min(first + CHUNK_SAMPLES, self.samples)) for first in firsts]

    def sample_bytes(self, parts: Collection[OutputKind]) -> int:
        """Stored size of these kinds of outputs for one sample, in bytes."""
        values = {"logits": self.classes, "embedding": self.embedding, "features": sum(map(prod, self.features))}
        return VALUE_BYTES * sum(values[part] for part in parts)
