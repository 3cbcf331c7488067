"""Sequential: NAGO's graphs of graphs of graphs over signals and vectors, for time-series and tabular teachers."""

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
    """NAGO over one axis or none: convolutions along a signal, or full matrices on a vector.

    Dimensions and stages are NAGO's, see there; RandWire's Watts-Strogatz graphs are among them (three blocks of one
    cell). On a vector there is nothing to halve, so stages differ in width alone. A signal of up to 39 steps keeps its
    length in the stem, a longer one is shortened to a quarter.

    Args:
        view: `series` takes signals and vectors as they are and reads an image row by row as one long signal with the
            image's channels; `vector` takes all values of a sample as one vector.
        head_ratio: See `Nago`.
        width: See `Space`; of the first stage.
        max_width: See `Space`.
        ranges: See `Nago`.
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
            raise SpaceError(f"`view` is series or vector, but got {view!r}.")
        self.view = view

    def seen(self, input_shape: Shape) -> Shape:
        """A signal or a vector with all values of the sample."""
        if self.view == "vector":
            return (prod(input_shape),)
        return (input_shape[0], prod(input_shape[1:])) if len(input_shape) > 1 else input_shape

    def enter(self, sketch: Sketch) -> int:
        """The input under its other shape, or as it is."""
        before, after = sketch.input_shape, self.seen(sketch.input_shape)
        if before == after:
            return 0
        width = IMAGE if self.view == "series" else sketch.derive(Total((IMAGE,) * prod(before[1:])))
        return sketch.add(self.view, (0,), width, name=self.view)
