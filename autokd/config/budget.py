"""The section `[budget]`, whose keys are the limits of a `Budget`."""

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetPydanticSchema,
    create_model,
)
from pydantic_core import CoreSchema, core_schema

from autokd.config.numbers import NO_BOOL
from search_spaces.design.budget import LARGEST_LIMIT, LIMITS, Budget

__all__ = ["BudgetSection"]


Limit = Annotated[int, Field(ge=1, le=LARGEST_LIMIT), NO_BOOL]
_fields: dict[str, Any] = dict.fromkeys(LIMITS, (Limit | None, None))
_Keys = create_model("Budget", __config__=ConfigDict(extra="forbid"), __doc__=Budget.__doc__, **_fields)


def _budget(keys: BaseModel) -> Budget:
    budget = Budget(**keys.model_dump())
    if not budget.limits:
        raise ValueError(f"at least one limit must be set: {', '.join(LIMITS)}")
    return budget


def _schema(_: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    """Schema that checks each key by itself, so that errors name the key, and that writes only limits that are set."""
    limits = core_schema.plain_serializer_function_ser_schema(lambda budget: budget.limits)
    return core_schema.no_info_after_validator_function(_budget, handler.generate_schema(_Keys), serialization=limits)


BudgetSection = Annotated[
    Budget,
    GetPydanticSchema(_schema),
    BeforeValidator(lambda value: value.limits if isinstance(value, Budget) else value),
]
"""A `Budget` with at least one limit, given as such or by its keys."""
