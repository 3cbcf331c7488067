"""A name for a teacher that is given as an object, which changes with its code and the values that it uses."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from inspect import getclosurevars
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["fingerprint"]

DEPTH = 4  # of nested values, such as functions that use functions; of deeper ones only the type counts


def fingerprint(teacher: Callable[..., Any]) -> str:
    """Name that identifies a teacher object.

    For a module it is the name of its class; `Teacher.digest` adds the weights. For any other callable a digest is
    appended, of its code and of the modules, tensors, arrays and plain values that it uses as attributes, in its
    closure or as globals, so that an edited function is a different teacher. The code of libraries that it calls is
    not included. The name is the same in all processes with the same version of Python.
    """
    named = teacher if hasattr(teacher, "__qualname__") else type(teacher)
    name = f"{named.__module__}:{named.__qualname__}"
    if isinstance(teacher, nn.Module):
        return name
    digest = hashlib.sha256()
    for part in _parts(teacher, DEPTH):
        digest.update(part)
    return f"{name} {digest.hexdigest()}"


def _parts(value: object, depth: int) -> Iterator[bytes]:
    """Bytes that change whenever the value changes."""
    yield type(value).__qualname__.encode()
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        yield repr(value).encode()
    elif isinstance(value, Tensor):
        yield f"{value.dtype}{tuple(value.shape)}".encode()
        yield value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, np.ndarray) and value.dtype != object:
        yield f"{value.dtype}{value.shape}".encode() + value.tobytes()
    elif isinstance(value, set | frozenset):
        yield repr(sorted(map(repr, value))).encode()  # their order differs between processes
    elif isinstance(value, FunctionType | MethodType | type):
        yield f"{value.__module__}:{value.__qualname__}".encode()
    if depth:
        for inner in _inside(value):
            yield from _parts(inner, depth - 1)


def _inside(value: object) -> list[object]:
    """Values that a value consists of."""
    if isinstance(value, nn.Module):
        return _sorted(value.state_dict())
    if isinstance(value, FunctionType):
        used = getclosurevars(value)
        return [value.__code__, value.__defaults__, *_sorted(used.nonlocals), *_sorted(used.globals)]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, CodeType):
        return [value.co_code, value.co_names, *value.co_consts]
    if isinstance(value, partial):
        return [value.func, *value.args, *_sorted(value.keywords)]
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, Mapping):
        return _sorted(value)
    if callable(value) and not isinstance(value, type):
        return [type(value).__call__, *_sorted(getattr(value, "__dict__", {}))]
    return []


def _sorted(values: Mapping[Any, object]) -> list[object]:
    return [part for key in sorted(values, key=repr) for part in (repr(key), values[key])]
