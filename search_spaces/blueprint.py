"""The address of `Sketch` before version 0.2; spaces of users import it from here."""

from search_spaces.design.blueprint import Blueprint, Sketch

__all__ = ["Blueprint", "Sketch"]
