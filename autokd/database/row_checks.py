"""The kinds of rows with their tables, and the check that what a column holds is of its type."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from autokd.database.errors import DamagedRow
from autokd.database.models import Base, Evaluation, Event, Job, Search, Student, Trial
from autokd.database.rows import EvaluationRow, EventRow, JobRow, SearchRow, StudentRow, TrialRow

__all__ = ["TABLES", "checked", "row_of"]

R = TypeVar("R")

TABLES: dict[type, type[Base]] = {
    SearchRow: Search,
    TrialRow: Trial,
    StudentRow: Student,
    EvaluationRow: Evaluation,
    EventRow: Event,
    JobRow: Job,
}


def row_of(kind: type[R], model: Base, convert: Callable[[Any], Any] = lambda value: value) -> R:
    """The model's fields as a frozen row.

    Args:
        kind: Kind of the row.
        model: The model.
        convert: What to make of each value.

    Raises:
        DamagedRow: If a column holds what is none of its type.
    """
    return checked(kind, {field.name: convert(getattr(model, field.name)) for field in fields(kind)})  # type: ignore[arg-type]


def checked(kind: type[R], values: Mapping[str, Any]) -> R:
    """The row of these values, if they are of its types.

    Args:
        kind: Kind of the row.
        values: Values of its columns by name.

    Raises:
        DamagedRow: If a column holds what is none of its type.
    """
    try:
        _checks(kind).model_validate(values)  # type: ignore[arg-type]
    except ValidationError as error:
        table, row_id = TABLES.get(kind, Trial), values.get("id", values.get("number", 0))
        search_id = values.get("id" if table is Search else "search_id")
        raise DamagedRow(table.__tablename__, row_id, _damage(error), search_id) from None
    return kind(**values)


@cache
def _checks(kind: type) -> type[BaseModel]:
    """The types of a row's columns."""
    columns: Any = {field.name: (field.type, ...) for field in fields(kind)}
    return create_model(kind.__name__, __config__=ConfigDict(strict=True, protected_namespaces=()), **columns)


def _damage(error: ValidationError) -> str:
    """The first error, such as `created_at should be a valid datetime, but is 'soon'`."""
    first = error.errors()[0]
    return f"{first['loc'][0]} {first['msg'].removeprefix('Input ')}, but is {first['input']!r:.60}"
