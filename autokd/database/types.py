"""Column types that mean the same on SQLite and PostgreSQL."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer
from sqlalchemy.types import TypeDecorator

from autokd.database.errors import DatabaseError

__all__ = ["BigInt", "Json", "Unreadable", "UtcDateTime", "as_read", "encoded", "undecoded", "written"]

T = TypeVar("T")

# SQLite numbers rows itself only for the exact type INTEGER, which is 64 bits wide there anyway.
BigInt = BigInteger().with_variant(Integer(), "sqlite")

# JSON has no NaN and no infinity: such a float is written as {"__float__": "nan"} ("inf", "-inf") and read back as one.
_FLOAT = "__float__"


@dataclass(frozen=True)
class Unreadable:
    """Stands in a damaged row for what its column cannot hold."""

    stored: object

    def __repr__(self) -> str:
        return repr(self.stored)


class _Text(str):
    """JSON that a column takes as it is."""


class _Tolerant(TypeDecorator[T]):
    """A type of which values that cannot be read come as `Unreadable`, so that the other rows can be."""

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """What reads a value."""
        process = super().result_processor(dialect, coltype)
        assert process is not None

        def read(value: Any) -> Any:
            try:
                return process(value)
            except (ValueError, TypeError, RecursionError):
                return Unreadable(value)

        return read


class Json(_Tolerant[Any]):
    """Values made of dict, list, str, int, float, bool and None; every float comes back bit for bit.

    Its engine is opened with `encoded` and `undecoded`, so that a value is written and read in one pass.

    A tuple comes back as a list, and all NaNs as the one that Python calls nan.
    """

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """The value as JSON, without what JSON lacks.

        Raises:
            DatabaseError: If a part of the value is none of the types above.
        """
        return value if value is None or isinstance(value, _Text) else _text(value)[0]

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """The value as it was written."""
        return None if value is None else _decoded(value)


class UtcDateTime(_Tolerant[datetime]):
    """Times with a zone in Python, UTC in the database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The moment in UTC, naive where the database knows no zones.

        Raises:
            DatabaseError: If the moment has no zone.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise DatabaseError(f"A moment must have a time zone, but got {value!r}; use datetime.now(UTC).")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The aware moment in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def encoded(value: Any) -> str:
    """What an engine makes of a value: JSON, which that of `Json` is already."""
    return value if isinstance(value, _Text) else json.dumps(value)


def undecoded(text: str | bytes) -> str | bytes:
    """The text itself: what an engine makes of the JSON of a column, which `Json` then decodes."""
    return text


def written(value: Any) -> tuple[Any, Any]:
    """What a column may be given in place of a value, so that JSON is computed once; and the value as it will be read.

    Raises:
        DatabaseError: If a part of the value is none of the types that `Json` takes.
    """
    return _text(value) if isinstance(value, dict | list) else (value, value)


def as_read(value: Any) -> Any:
    """A value that was written to a column, as it will be read."""
    return written(value)[1]


def _text(value: Any) -> tuple[_Text, Any]:
    """A value as JSON and read again.

    Most values JSON holds as they are, which the parser tells soonest.
    """
    try:
        text = _Text(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        pass
    else:
        read = json.loads(text)
        if _FLOAT not in text and read == value:
            return text, read
    text = _Text(json.dumps(_encode(value, "value")))
    return text, _decoded(text)


def _encode(value: Any, where: str) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: str(float(value))}
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_encode(part, f"{where}[{index}]") for index, part in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value) and _FLOAT not in value:
        return {key: _encode(part, f"{where}[{key!r}]") for key, part in value.items()}
    raise DatabaseError(
        f"What is stored must be made of dict with str keys (not {_FLOAT!r}), list, str, int, float, bool and None, "
        f"but {where} is {type(value).__name__}: {value!r:.100}; convert it first, e.g. with float()."
    )


def _decoded(text: str | bytes) -> Any:
    return json.loads(text, object_hook=lambda part: float(part[_FLOAT]) if _FLOAT in part else part)
