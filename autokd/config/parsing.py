"""Plain values as a checked configuration."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from autokd.config.compatibility import RECORDED, fill_recorded
from autokd.config.flat import depth, flat
from autokd.config.messages import one_line, wrong_key
from autokd.config.schema import RESUMABLE_CHANGES, SearchConfig
from autokd.errors import InputError

__all__ = ["DEEPEST", "checked_copy", "differences", "may_change", "parse_config", "recorded_config"]

DEEPEST = 20  # of sections within sections


def parse_config(
    values: dict[str, Any],
    where: str = "configuration",
    overrides: Iterable[str] = (),
    context: Mapping[str, Any] | None = None,
) -> SearchConfig:
    """Checked configuration from plain values.

    Args:
        values: Nested tables of sections and keys.
        where: Origin of the values, for error messages.
        overrides: Settings `key=value` that come from the command line, and are already among the values.
        context: `RECORDED` for a configuration that was recorded.

    Raises:
        InputError: If a value is not allowed; one line with its key, what is wrong, and the nearest known key.
    """
    if depth(values) > DEEPEST:
        raise InputError(f"{where}: sections and lists are nested more than {DEEPEST} deep.")
    try:
        return SearchConfig.model_validate(values, context=context)
    except ValidationError as error:
        key = wrong_key(error)
        given = [override.partition("=")[0].strip() for override in overrides]
        overridden = any(key.startswith(other) or other.startswith(f"{key}.") for other in given)
        raise InputError(f"{'command line' if overridden else where}: {one_line(error)}.") from None


def recorded_config(values: dict[str, Any], where: str) -> SearchConfig:
    """Configuration that was recorded by `SearchConfig.to_dict`, possibly before some keys existed.

    Raises:
        InputError: If a value is not allowed, see `parse_config`.
    """
    return parse_config(fill_recorded(values), where, context=RECORDED)


def checked_copy(config: SearchConfig) -> SearchConfig:
    """The same configuration, checked as one from a file is: pydantic's `model_copy` takes whatever it is given.

    Raises:
        InputError: If a value is not allowed, a key is unknown, or a dictionary stands for a section.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of pydantic, about what is refused here
        checked = parse_config(config.to_dict(), context=RECORDED)
    wrong = [key for key, value in vars(config).items() if vars(checked).get(key) != value]
    if wrong:
        raise InputError(
            f"configuration: {', '.join(wrong)}: unknown, or not as it would be read from a file; sections are "
            "changed by their own `model_copy(update={...})`."
        )
    return checked


def differences(old: SearchConfig, new: SearchConfig) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, with the old and the new value."""
    before, after = dict(flat(old.to_dict())), dict(flat(new.to_dict()))
    keys = sorted(before.keys() | after.keys())
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


def may_change(key: str) -> bool:
    """Whether a search may be resumed with another value of the setting with this dotted key."""
    return key.partition(".")[0] in RESUMABLE_CHANGES and key != "workers.device"  # the device decides results
