"""Import path of `Sketch` before version 0.2, kept because users' own spaces import from it."""

from search_spaces.design.blueprint import Blueprint, Sketch

__all__ = ["Blueprint", "Sketch"]
