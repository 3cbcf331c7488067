"""Distillation methods by name."""

from collections.abc import Mapping
from types import MappingProxyType

from autokd.distillation.base import Method
from autokd.distillation.kd import KD
from autokd.errors import InputError
from autokd.names import is_reference, nearest, resolve

__all__ = ["METHODS", "method_class"]

METHODS: Mapping[str, type[Method]] = MappingProxyType({method.name: method for method in (KD,)})
"""Known methods by the name that a configuration gives."""


def method_class(name: str) -> type[Method]:
    """The method of that name, or the user's own as "module:Class".

    Raises:
        InputError: If there is none.
    """
    if is_reference(name):
        found = resolve(name, "distillation.method")
        if isinstance(found, type) and issubclass(found, Method):
            return found
        raise InputError(f"distillation.method {name!r} must be a subclass of autokd.distillation.Method.")
    if name not in METHODS:
        raise InputError(
            f"distillation.method must be one of {', '.join(METHODS)} or `module:Class`, "
            f"but got {name!r}{nearest(name, METHODS)}."
        )
    return METHODS[name]
