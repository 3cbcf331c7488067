"""Hints at other layers than the clustered ones, to compare like with like: three layers of the teacher, one loss.

    python tests/benchmarks/distillation/run.py --seeds 5 --methods clustered-hints hint_arms:LastLayers \
        hint_arms:RandomLayers

Both take FitNet's loss at all hints, and the student's layers at the same relative depth, as `clustered-hints` does.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from autokd.distillation import ClusteredHints
from autokd.distillation.layers import averaged, default_layers, layer_outputs

__all__ = ["LastLayers", "RandomLayers"]


class LastLayers(ClusteredHints):
    """Hints at the last layer of each resolution, the deepest ones if there are more than `hints`."""

    name = "last-layers"

    def centres(self, n: int, teacher: nn.Module, chunks: Iterator[Tensor]) -> Sequence[int]:
        """Indices of these layers; one whose output has another module's name, too, is found under that name."""
        first = next(chunks)
        names, last = list(layer_outputs(teacher, first, averaged)), default_layers(teacher, first)
        found = [next(k for k, name in enumerate(names) if f"{own}.".startswith(f"{name}.")) for own in last]
        return sorted(found)[-self.hints :]


class RandomLayers(ClusteredHints):
    """Hints at random layers, which depend on the student's first weights, and so on the run's seed."""

    name = "random-layers"

    def layers(
        self, student: nn.Module, teacher: nn.Module, samples: Iterator[Tensor]
    ) -> tuple[Sequence[str], Sequence[str]]:
        """The layers, drawn anew for each student."""
        bits = next(student.parameters()).detach().flatten().contiguous().view(torch.int32).long().sum()
        self._generator = torch.Generator().manual_seed(int(bits) % 2**63)
        return super().layers(student, teacher, samples)

    def centres(self, n: int, teacher: nn.Module, chunks: Iterator[Tensor]) -> Sequence[int]:
        """Indices of different layers, ascending."""
        return sorted(torch.randperm(n, generator=self._generator)[: self.hints].tolist())
