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

from autokd.config.numbers import NO_BOOL, Portion
from search_spaces.design.budget import LARGEST_LIMIT, LIMITS, Budget

__all__ = ["BudgetKeys", "BudgetSection", "Limit"]


Limit = Annotated[int, Field(ge=1, le=LARGEST_LIMIT), NO_BOOL]
_limits: dict[str, Any] = dict.fromkeys(LIMITS, (Limit | None, None))
_shares: dict[str, Any] = dict.fromkeys(LIMITS, (Portion | None, None))
BudgetShares = create_model(
    "BudgetShares",
    __config__=ConfigDict(extra="forbid"),
    __doc__="""Limits as shares of what the teacher costs; where both are given, the tighter limit holds.

    They are resolved to whole numbers, rounded down, before the search begins. A share stands for the nearest fraction
    whose denominator is at most a million: write 0.3333333 for a third.

    Attributes:
        params: Share of the teacher's parameters.
        macs: Share of its multiply-accumulates of one sample.
        activation_bytes: Share of the peak of its live activations of one sample, as measured.
        model_bytes: Share of the size of its parameters and buffers.
        memory_bytes: Share of its model and activations together.
    """,
    **_shares,
)
BudgetKeys = create_model(
    "Budget",
    __config__=ConfigDict(extra="forbid"),
    __doc__=Budget.__doc__,
    **_limits,
    of_teacher=(BudgetShares, BudgetShares()),
)


def _budget(keys: BaseModel) -> Budget:
    budget = Budget(**keys.model_dump(exclude_none=True))
    if not budget.to_dict():
        raise ValueError(f"at least one limit must be set: {', '.join(LIMITS)}")
    return budget


def _schema(_: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    """Schema that checks each key by itself, so that errors name the key, and that writes only limits that are set."""
    limits = core_schema.plain_serializer_function_ser_schema(Budget.to_dict)
    return core_schema.no_info_after_validator_function(
        _budget, handler.generate_schema(BudgetKeys), serialization=limits
    )


BudgetSection = Annotated[
    Budget,
    GetPydanticSchema(_schema),
    BeforeValidator(lambda value: value.to_dict() if isinstance(value, Budget) else value),
]
"""A `Budget` with at least one limit, given as such or by its keys."""
