"""References: `module:attribute` to the object that it names."""

import hashlib
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autokd.core.spelling import nearest_name
from autokd.errors import InputError, first_line

__all__ = [
    "call",
    "include_current_folder",
    "is_interactive",
    "is_reference",
    "reference_to",
    "resolve",
    "source_digest",
]


def is_reference(name: str) -> bool:
    """Whether `name` looks like `module:attribute`."""
    module, colon, attribute = name.partition(":")
    return bool(colon) and attribute.isidentifier() and all(part.isidentifier() for part in module.split("."))


def reference_to(kind: type) -> str:
    """The reference of a class.

    Raises:
        InputError: If the class is defined inside a function or another class.
    """
    if "." in kind.__qualname__:
        raise InputError(f"{kind.__qualname__} must be defined at the top level of its module.")
    return f"{kind.__module__}:{kind.__name__}"


def is_interactive() -> bool:
    """Whether the main module is a notebook or an interactive session, from which no other process can import."""
    return not hasattr(sys.modules["__main__"], "__file__")


def resolve(reference: str, what: str) -> Any:
    """The object that `module:attribute` names; modules are looked up in the current folder first, as `python -m` does.

    Args:
        reference: For example "my_models:teacher".
        what: What it is for, for the error message: "teacher.factory".

    Raises:
        InputError: If there is no such module or attribute, or importing the module fails.
    """
    if not is_reference(reference):
        raise InputError(f"{what} must be `module:name`, but got {reference!r}.")
    module_name, _, attribute = reference.partition(":")
    include_current_folder()
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a user's module can fail in any way, or be a script that exits
        why = f"{type(error).__name__}: {first_line(error)}"
        raise InputError(f"{what}: cannot import {module_name!r}: {why}.") from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise InputError(
            f"{what}: {module_name!r} has no {attribute!r}{nearest_name(attribute, dir(module))}."
        ) from None


def source_digest(reference: str, what: str) -> str:
    """SHA-256 of the file of a reference's module, since what it names may change under the same name; "" without one.

    Args:
        reference: For example "my_models:teacher".
        what: What it is for, for the error message: "teacher.preprocess".

    Raises:
        InputError: If there is no such module or attribute, or importing the module fails.
    """
    resolve(reference, what)
    file = getattr(sys.modules[reference.partition(":")[0]], "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


def include_current_folder() -> None:
    """Let modules of the current folder be imported, which a console script does not by itself."""
    folder = str(Path.cwd())
    if folder not in sys.path and "" not in sys.path:
        sys.path.insert(0, folder)


def call(reference: str, what: str, arguments: Mapping[str, Any] | None = None) -> Any:
    """What the function that `module:function` names returns.

    Args:
        reference: For example "my_models:teacher".
        what: What it is for, for the error message: "teacher.factory".
        arguments: Its keyword arguments.

    Raises:
        InputError: If there is no such function, or it fails.
    """
    function, arguments = resolve(reference, what), arguments or {}
    try:
        return function(**arguments)
    except (Exception, SystemExit) as error:  # a user's function can fail in any way
        called = f"{reference}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"
        raise InputError(f"{what}: {called} fails: {type(error).__name__}: {first_line(error)}.") from error
