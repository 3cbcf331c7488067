"""What is wrong with a configuration, in one line."""

import re
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from autokd.config.budget import BudgetKeys
from autokd.config.schema import SearchConfig
from autokd.core.spelling import nearest_name
from search_spaces.design.budget import Budget

__all__ = ["one_line", "wrong_key"]

LONGEST = 120  # characters of a value in a message


def one_line(error: ValidationError, of: type[BaseModel] = SearchConfig) -> str:
    """Message for the first error: its key, what is wrong, and what is allowed.

    Args:
        error: The error.
        of: The model whose values are wrong.
    """
    first, where = error.errors()[0], wrong_key(error)
    if first["type"] == "extra_forbidden":
        *section, key = first["loc"]
        known = _known_keys(of, section)
        return f"unknown key {where!r}{nearest_name(str(key), known) or '; known are ' + ', '.join(known)}"
    if first["type"] == "missing":
        return f"{where!r} is missing"
    at = f"{where}: " if where else ""  # nowhere: the whole is wrong
    if first["type"] == "model_type":
        return f"{at}must be a section with keys of its own, but got {_short(first['input'])}"
    message = first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:].replace(" after validation", "")
    message = re.sub(r"\btuple\b", "list", message)  # as TOML calls it
    return f"{at}{message}" + ("" if first["type"] == "value_error" else f", but got {_short(first['input'])}")


def wrong_key(error: ValidationError) -> str:
    """Dotted key of the first error."""
    return ".".join(str(part) for part in error.errors()[0]["loc"])


def _known_keys(of: type[BaseModel], location: Iterable[int | str]) -> list[str]:
    section: Any = of
    for part in location:
        if isinstance(part, int):  # a place in a list
            continue
        section = section.model_fields[part].annotation
        section = next(iter(get_args(section)), section)  # of `PruningConfig | None`, as one may omit it
        section = BudgetKeys if section is Budget else section
    return list(section.model_fields)


def _short(value: object) -> str:
    """The `repr` of a value, with the middle omitted if it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}...{text[-LONGEST // 2 :]}"
