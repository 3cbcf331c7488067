"""Distillation methods by name, alone and composed.

`kd+at` is the sum of both losses; a wrapper stands before the method that it wraps: `ctkd+kd`,
`early-stopping+standardise+dkd+at`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from optuna.distributions import BaseDistribution

from autokd.distillation.base import Method, Wrapper
from autokd.distillation.combined import Combined
from autokd.distillation.kd import KD
from autokd.errors import InputError
from autokd.names import is_reference, nearest, resolve

__all__ = ["METHODS", "make_method", "method_class", "method_distributions"]

_ALL: tuple[type[Method], ...] = (KD,)

METHODS: Mapping[str, type[Method]] = MappingProxyType({method.name: method for method in _ALL})
"""Known methods by the name that a configuration gives."""

_JOIN = "+"


def make_method(name: str, settings: Mapping[str, Any]) -> Method:
    """The method of that name with these hyper-parameters, by the names of `method_distributions`.

    Raises:
        InputError: If there is none, its parts do not fit, or a value makes no sense.
    """
    parts = _parts(name)
    given = {part: _of_part(settings, part) if len(parts) > 1 else dict(settings) for part in parts}
    members: list[Method] = []
    for part, kind in reversed(parts.items()):
        if issubclass(kind, Wrapper):
            if not members:
                raise InputError(f"distillation method {part!r} wraps another: write `{part}+kd`.")
            members[0] = kind(members[0], **given[part])
        else:
            members.insert(0, kind(**given[part]))
    return members[0] if len(members) == 1 else Combined(members)


def method_distributions(name: str) -> dict[str, BaseDistribution]:
    """The hyper-parameters of the method of that name; of a composed one as `part.hyper-parameter`."""
    parts = _parts(name)
    if len(parts) == 1:
        return parts[name].distributions()
    return {
        f"{part}.{own}": distribution
        for part, kind in parts.items()
        for own, distribution in kind.distributions().items()
    }


def method_class(name: str) -> type[Method]:
    """The method of that name, or the user's own as "module:Class".

    Raises:
        InputError: If there is none.
    """
    if is_reference(name):
        found = resolve(name, "distillation method")
        if isinstance(found, type) and issubclass(found, Method):
            return found
        raise InputError(f"distillation method {name!r} must be a subclass of autokd.distillation.Method.")
    if name not in METHODS:
        raise InputError(
            f"a distillation method must be one of {', '.join(METHODS)} or `module:Class`, or several joined by "
            f"{_JOIN!r}, but got {name!r}{nearest(name, METHODS)}."
        )
    return METHODS[name]


def _parts(name: str) -> dict[str, type[Method]]:
    names = name.split(_JOIN)
    if len(set(names)) < len(names):
        raise InputError(f"distillation method {name!r} names a part twice.")
    return {part: method_class(part) for part in names}


def _of_part(settings: Mapping[str, Any], part: str) -> dict[str, Any]:
    prefix = f"{part}."
    return {name.removeprefix(prefix): value for name, value in settings.items() if name.startswith(prefix)}
