"""The kinds of number in a configuration, each with the bounds beyond which it makes no sense; none takes a bool."""

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

__all__ = [
    "Bytes",
    "Epochs",
    "Finite",
    "Fraction",
    "Index",
    "NonNegative",
    "Number",
    "Positive",
    "PositiveFraction",
    "Probability",
    "Room",
    "Samples",
    "Seconds",
    "Seed",
    "Shift",
    "Side",
    "Threads",
    "Views",
    "Whole",
    "check_number",
]

MOST_INT = 2**63  # what a database, or an array, takes


def check_number(value: Any) -> None:
    """Check a number that no kind bounds; anything else is let pass.

    Raises:
        ValueError: If it is NaN, infinite, or an integer of more than 64 bits.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"must be a finite number, but got {value}")
    if isinstance(value, int) and abs(value) >= MOST_INT:
        raise ValueError(f"must be a number of at most 64 bits, but got one of {value.bit_length()}")


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"must be a number, but got {str(value).lower()}")
    return value


Whole = Annotated[int, BeforeValidator(_no_bool)]
_Float = Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)]

Number = Annotated[Whole, Field(gt=0, le=10**6)]
"""How many trials, students, or samples of a batch."""
Threads = Annotated[Whole, Field(gt=0, le=1024)]
Samples = Annotated[Whole, Field(gt=0, le=10**10)]
Views = Annotated[Whole, Field(gt=0, le=10**4)]
Side = Annotated[Whole, Field(gt=0, le=10**4)]
Shift = Annotated[Whole, Field(ge=0, le=10**4)]
"""Pixels, or none."""
Index = Annotated[Whole, Field(ge=0, le=10**7)]
Seed = Annotated[Whole, Field(ge=0, lt=MOST_INT)]
Bytes = Annotated[Whole, Field(gt=0, le=10**18)]
Room = Annotated[Whole, Field(ge=0, le=10**18)]
"""Bytes, or none at all."""

Finite = _Float
Positive = Annotated[_Float, Field(gt=0)]
NonNegative = Annotated[_Float, Field(ge=0)]
Epochs = Annotated[_Float, Field(gt=0, le=10**5)]
Seconds = Annotated[_Float, Field(gt=0, le=10**9)]
Probability = Annotated[_Float, Field(ge=0, le=1)]
Fraction = Annotated[_Float, Field(ge=0, lt=1)]
PositiveFraction = Annotated[_Float, Field(gt=0, lt=1)]
