"""The address of `Space` before version 0.2; spaces of users import it from here."""

from search_spaces.design.dimensions import Dimension
from search_spaces.design.space import Space

__all__ = ["Dimension", "Space"]
