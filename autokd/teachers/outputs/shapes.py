"""How large a teacher's outputs are."""

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
"""What is stored of a teacher, in order of worth: what comes later is given up first."""

CHUNK_SAMPLES = 8192
"""Of a view, in one file: what is lost at most in a crash, and what one worker computes at a time."""

VALUE_BYTES = 2  # float16


@dataclass(frozen=True)
class OutputShapes:
    """Shapes of a teacher's outputs for one sample.

    Attributes:
        samples: Number of training samples.
        classes: Number of logits.
        embedding: Width of the embedding; 0 where it was not asked for.
        features: Of each map channels, then the resolution; none where they were not asked for.
    """

    samples: int
    classes: int
    embedding: int = 0
    features: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of(cls, outputs: Outputs, samples: int) -> "OutputShapes":
        """Those of a teacher of `samples` training samples that said this of some of them."""
        width = 0 if outputs.embedding is None else outputs.embedding.shape[1]
        return cls(samples, outputs.logits.shape[1], width, tuple(tuple(maps.shape[1:]) for maps in outputs.features))

    @classmethod
    def load(cls, path: Path) -> "OutputShapes":
        """Those in a file that `save` wrote."""
        values = json.loads(path.read_text())
        return cls(**values | {"features": tuple(map(tuple, values["features"]))})

    def save(self, path: Path) -> None:
        """Write them to a file, complete or not at all."""
        write_json(path, asdict(self))

    @property
    def chunks(self) -> list[range]:
        """The training samples of each chunk."""
        firsts = range(0, self.samples, CHUNK_SAMPLES)
        return [range(first, min(first + CHUNK_SAMPLES, self.samples)) for first in firsts]

    def sample_bytes(self, parts: Collection[OutputKind]) -> int:
        """Bytes that these parts of one sample's outputs take when they are stored."""
        values = {"logits": self.classes, "embedding": self.embedding, "features": sum(map(prod, self.features))}
        return VALUE_BYTES * sum(values[part] for part in parts)
