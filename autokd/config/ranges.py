"""Values and ranges of the dimensions of spaces and methods."""

from typing import Annotated, Any

from pydantic import BeforeValidator

from autokd.config.flat import flat
from autokd.config.numbers import check_number

__all__ = ["OneValue", "PlainValue", "Ranges"]


def _one(value: Any) -> Any:
    """Check that a value is plain. The message is one line; pydantic's own has a line for each type of the union."""
    if not isinstance(value, bool | int | float | str):
        raise ValueError(f"must be one value, but got {value!r}")
    check_number(value)
    return value


def _one_or_several(value: Any) -> Any:
    """Check that a value is plain, or a list of plain values; see `_one`."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, bool | int | float | str) for each in values):
        raise ValueError(f"must be one value or a list of values, but got {value!r}")
    for each in values:
        check_number(each)
    return value


def _flattened(ranges: Any) -> Any:
    """Nested tables as one table: `dkd = {beta = [1, 8]}` means the same as `"dkd.beta" = [1, 8]`."""
    return dict(flat(ranges)) if isinstance(ranges, dict) else ranges


PlainValue = bool | int | float | str
OneValue = Annotated[PlainValue, BeforeValidator(_one)]
Range = Annotated[PlainValue | list[PlainValue], BeforeValidator(_one_or_several)]
Ranges = Annotated[dict[str, Range], BeforeValidator(_flattened, json_schema_input_type=dict[str, Any])]
"""By dimension: one value fixes it, two numbers bound it, and names list the choices."""
