"""Keys that configurations of earlier versions lack, and what was done before they existed."""

from functools import reduce
from typing import Any

from pydantic import ValidationInfo

__all__ = ["RECORDED", "fill_recorded", "is_recorded", "without_later_keys"]

RECORDED = {"recorded": True}  # the context in which a recorded configuration is read

BEFORE: dict[str, Any] = {
    "training": {
        "schedule": "cosine",
        "cooldown": 0.3,
        "optimizer": "sgd",
        "gradient_clip": None,
        "ema": None,
        "width_scaling": False,
        "warm_start": 0.0,
        "augmentation": {"mixup": 0.0, "cutmix": 0.0},
    },
    "optimizer": {"signal": "accuracy"},
    "final": {"keep": "last"},
}
"""Not the defaults, which may change: a search that was recorded without a key goes on as it began."""


def fill_recorded(values: dict[str, Any]) -> dict[str, Any]:
    """A configuration's plain values, with the keys that it was recorded without."""
    return _filled(values, BEFORE)


def is_recorded(info: ValidationInfo) -> bool:
    """Whether what is validated was recorded, maybe by a version that had fewer bounds."""
    return info.context == RECORDED


def without_later_keys(values: dict[str, Any], *path: str) -> dict[str, Any]:
    """The plain values of the section at a path, without those keys that say what was done before they existed.

    What is computed of them, such as a digest, is what it was before.
    """
    return _reduced(values, reduce(lambda section, name: section.get(name, {}), path, BEFORE))


def _filled(values: dict[str, Any], missing: dict[str, Any]) -> dict[str, Any]:
    sections = {key: _filled(values.get(key, {}), value) for key, value in missing.items() if isinstance(value, dict)}
    return missing | values | sections


def _reduced(values: dict[str, Any], same: dict[str, Any]) -> dict[str, Any]:
    sections = {key: _reduced(values[key], value) for key, value in same.items() if isinstance(value, dict)}
    return {key: value for key, value in values.items() if key not in same or value != same[key]} | sections
