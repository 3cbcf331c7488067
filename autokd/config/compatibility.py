"""Keys that configurations of earlier versions lack, and the values to which their absence amounts."""

from functools import reduce
from typing import Any

from pydantic import ValidationInfo

__all__ = ["RECORDED", "as_digested", "fill_recorded", "is_recorded", "without_later_keys"]

RECORDED = {"recorded": True}  # validation context of a recorded configuration

BEFORE: dict[str, Any] = {
    "space": {"tilt": "balanced", "stem": "pooled"},
    "training": {
        "schedule": "cosine",
        "cooldown": 0.3,
        "optimizer": "sgd",
        "gradient_clip": None,
        "ema": None,
        "width_scaling": False,
        "warm_start": 0.0,
        "from_teacher": False,
        "augmentation": {"mixup": 0.0, "cutmix": 0.0},
    },
    "optimizer": {"signal": "accuracy", "keeps_start_points": False, "proposes_early": False},
    "references": {"names": []},
    "final": {"keep": "last", "families": 1},
}
"""These are not the defaults, which may change: a search that was recorded without a key continues as it began."""

SINCE_DIGESTS: dict[str, Any] = {
    "space": BEFORE["space"],
    "training": {"from_teacher": False},
    "optimizer": BEFORE["optimizer"],
}
"""Those of them that came after digests of whole configurations were first recorded."""


def fill_recorded(values: dict[str, Any]) -> dict[str, Any]:
    """Plain values of a recorded configuration, with the keys that did not exist when it was recorded."""
    return _filled(values, BEFORE)


def is_recorded(info: ValidationInfo) -> bool:
    """Whether the configuration was recorded, possibly by a version with fewer bounds."""
    return info.context == RECORDED


def without_later_keys(values: dict[str, Any], *path: str) -> dict[str, Any]:
    """Plain values of a section, without later keys whose value amounts to their absence.

    A digest of the result is therefore the same as before these keys existed.

    Args:
        values: Plain values of the section.
        path: Names of the sections that lead to it, from the outermost to its own.
    """
    return _reduced(values, reduce(lambda section, name: section.get(name, {}), path, BEFORE))


def as_digested(values: dict[str, Any]) -> dict[str, Any]:
    """Plain values of a whole configuration, of which the digest is the same as before later keys existed."""
    return _reduced(values, SINCE_DIGESTS)


def _filled(values: dict[str, Any], missing: dict[str, Any]) -> dict[str, Any]:
    sections = {key: _filled(values.get(key, {}), value) for key, value in missing.items() if isinstance(value, dict)}
    return missing | values | sections


def _reduced(values: dict[str, Any], same: dict[str, Any]) -> dict[str, Any]:
    sections = {key: _reduced(values[key], value) for key, value in same.items() if isinstance(value, dict)}
    return {key: value for key, value in values.items() if key not in same or value != same[key]} | sections
