"""How inputs lose resolution before a network's first stage."""

from typing import Literal

from search_spaces.architecture.layers import Shape

__all__ = ["Stem", "is_small"]

SMALL_INPUT = 39
"""Longest side, in pixels, up to which a stem keeps the resolution."""

Stem = Literal["auto", "strided", "narrow", "pooled"]
"""How larger inputs lose resolution: by one convolution of stride 4, by such a one with half as many channels as the
first stage, by one and a max pooling of stride 2 each, or by that of these with which a network makes more of its
budget."""


def is_small(input_shape: Shape) -> bool:
    """Whether a stem keeps the resolution of inputs of this shape; always true for vectors."""
    return max(input_shape[1:], default=0) <= SMALL_INPUT
