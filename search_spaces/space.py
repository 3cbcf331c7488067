"""Import path of `Space` before version 0.2, kept because users' own spaces import from it."""

from search_spaces.design.dimensions import Dimension
from search_spaces.design.space import Space

__all__ = ["Dimension", "Space"]
