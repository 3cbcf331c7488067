"""NAGO on signals and vectors, for teachers of time series and tabular data."""

from __future__ import annotations

from math import prod

from search_spaces.architecture.layers import Shape
from search_spaces.design.blueprint import IMAGE, Sketch, Total
from search_spaces.design.space import Range
from search_spaces.errors import SpaceError
from search_spaces.spaces.nago import Nago

__all__ = ["Sequential"]

VIEWS = ("series", "vector")


class Sequential(Nago):
    """NAGO with one spatial axis or none: convolutions along a signal, or linear layers on a vector.

    Dimensions and stages are those of `Nago`; with three blocks of one cell each they include RandWire's Watts-Strogatz
    graphs. Vectors have no resolution to halve, so on them stages differ in width only. A signal of up to 39 steps
    keeps its length in the stem; a longer one is shortened to a quarter.

    Args:
        view: With `series`, signals and vectors are used as they are, and an image is read row by row as one signal
            with the image's channels; with `vector`, all values of a sample are one vector.
        head_ratio: See `Nago`.
        width: See `Space`; width of the first stage.
        max_width: See `Space`.
        **ranges: See `Nago`.
    """

    name = "sequential"

    def __init__(
        self,
        *,
        view: str = "series",
        head_ratio: float = 2.0,
        width: float | None = None,
        max_width: int = 512,
        **ranges: Range,
    ) -> None:
        super().__init__(head_ratio=head_ratio, width=width, max_width=max_width, **ranges)
        if view not in VIEWS:
            raise SpaceError(f"`view` must be series or vector, but got {view!r}.")
        self.view = view

    def seen(self, input_shape: Shape) -> Shape:
        """Shape of a signal or a vector with all values of a sample."""
        if self.view == "vector":
            return (prod(input_shape),)
        return (input_shape[0], prod(input_shape[1:])) if len(input_shape) > 1 else input_shape

    def enter(self, sketch: Sketch) -> int:
        """Index of the node with the input in the shape of `seen`, or of the input itself if it has that shape."""
        before, after = sketch.input_shape, self.seen(sketch.input_shape)
        if before == after:
            return 0
        width = IMAGE if self.view == "series" else sketch.derive(Total((IMAGE,) * prod(before[1:])))
        return sketch.add(self.view, (0,), width, name=self.view)
