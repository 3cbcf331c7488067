"""Plain values as a checked configuration."""

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from autokd.config.compatibility import fill_recorded
from autokd.config.flat import flat
from autokd.config.messages import one_line, wrong_key
from autokd.config.schema import SearchConfig
from autokd.errors import InputError

__all__ = ["differences", "parse_config", "recorded_config"]


def parse_config(values: dict[str, Any], where: str = "configuration", overrides: Iterable[str] = ()) -> SearchConfig:
    """The checked configuration of plain values.

    Args:
        values: Sections and keys.
        where: Where the values are from, for error messages.
        overrides: Those among them that are from the command line.

    Raises:
        InputError: One line for the first thing that is wrong: where, what, and the nearest known key.
    """
    try:
        return SearchConfig.model_validate(values)
    except ValidationError as error:
        key = wrong_key(error)
        overridden = any(key.startswith(override.partition("=")[0].strip()) for override in overrides)
        raise InputError(f"{'command line' if overridden else where}: {one_line(error)}.") from None


def recorded_config(values: dict[str, Any], where: str) -> SearchConfig:
    """The configuration that `SearchConfig.to_dict` recorded, maybe before some of today's keys existed.

    Raises:
        InputError: One line for the first thing that is wrong, as `parse_config`.
    """
    return parse_config(fill_recorded(values), where)


def differences(old: SearchConfig, new: SearchConfig) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, with the old and the new value."""
    before, after = dict(flat(old.to_dict())), dict(flat(new.to_dict()))
    keys = sorted(before.keys() | after.keys())
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}
