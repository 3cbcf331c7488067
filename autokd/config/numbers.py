"""Types of the numbers in a configuration, with the bounds of sensible values. None of them accepts a bool."""

import math
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from autokd.config.distinct import distinct

__all__ = [
    "NO_BOOL",
    "Bytes",
    "Channels",
    "Epochs",
    "Finite",
    "Fraction",
    "Index",
    "NonNegative",
    "Number",
    "Points",
    "Portion",
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
    "check_number",
]

MOST_INT = 2**63  # integers in databases and arrays have 64 bits


def check_number(value: Any) -> None:
    """Check a number whose type has no bounds; other values are not checked.

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


# It comes after the bounds, so that they belong to the schema of the number and appear in the JSON schema.
NO_BOOL = BeforeValidator(_no_bool)

Number = Annotated[int, Field(gt=0, le=10**6), NO_BOOL]
"""Number of trials, of students, or of samples in a batch."""
Threads = Annotated[int, Field(gt=0, le=1024), NO_BOOL]
Samples = Annotated[int, Field(gt=0, le=10**10), NO_BOOL]
Views = Annotated[int, Field(gt=0, le=10**4), NO_BOOL]
Side = Annotated[int, Field(gt=0, le=4096), NO_BOOL]
Shift = Annotated[int, Field(ge=0, le=4096), NO_BOOL]
"""Number of pixels, possibly 0."""
Index = Annotated[int, Field(ge=0, le=10**7), NO_BOOL]
Channels = Annotated[tuple[Index, ...], Field(min_length=1), AfterValidator(distinct)]
"""Indices of some channels of the samples, counted from 0."""
Seed = Annotated[int, Field(ge=0, lt=MOST_INT), NO_BOOL]
Bytes = Annotated[int, Field(gt=0, le=10**18), NO_BOOL]
Room = Annotated[int, Field(ge=0, le=10**18), NO_BOOL]
"""Number of bytes, possibly 0."""

Finite = Annotated[float, Field(allow_inf_nan=False), NO_BOOL]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), NO_BOOL]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), NO_BOOL]
Epochs = Annotated[float, Field(gt=0, le=10**5, allow_inf_nan=False), NO_BOOL]
Seconds = Annotated[float, Field(gt=0, le=10**9, allow_inf_nan=False), NO_BOOL]
Points = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False), NO_BOOL]
"""Difference of two accuracies in percent, possibly 0."""
Portion = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False), NO_BOOL]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), NO_BOOL]
Fraction = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False), NO_BOOL]
PositiveFraction = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False), NO_BOOL]
