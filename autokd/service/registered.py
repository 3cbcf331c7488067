"""Teachers and data by name: what a client may ask for is what was registered on the server, and the recipes' own.

A configuration that comes over the network is made of names and numbers alone. It has no text in which a path, an
address or a reference `module:attribute` could be: those stand in the server's file of names.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from autokd.config.data import DataConfig
from autokd.config.flat import depth
from autokd.config.learn_from import is_file
from autokd.config.messages import one_line
from autokd.config.parsing import DEEPEST, parse_config
from autokd.config.schema import SearchConfig
from autokd.config.teacher import TeacherConfig
from autokd.config.toml import make_paths_absolute, read_tables
from autokd.core.spelling import nearest_name
from autokd.errors import InputError
from autokd.recipes.catalogue import recipe_path, recipes

__all__ = ["Registered", "read_registered"]

_SECTIONS: Mapping[str, Any] = {"data": DataConfig, "teacher": TeacherConfig}
_TABLES = {"data": "data", "teachers": "teacher"}  # of the server's file, with the section that each entry of it is

_FREE = {
    *("name", "seed", "trials", "seconds", "min_trials", "students_per_trial"),
    *("budget", "space", "distillation", "training", "optimizer", "references", "final", "stop"),
}
"""Top-level keys that a client may set, with all that is in them."""

_SOME: Mapping[str, set[str]] = {
    "data": {"name", "validation", "subset", "student_channels"},
    "teacher": {"name", "floor"},
    "workers": {"engine", "count", "threads", "seconds", "memory_bytes"},
}
"""Sections of which a client may set only some keys."""

_ENGINES = ("local", "inline")
_HARMLESS = re.compile(r"[A-Za-z0-9_ .+>,()-]{0,200}")  # no colon, slash or backslash


@dataclass(frozen=True)
class Registered:
    """Teachers and data sets by name, each as the section of a configuration that describes it.

    Attributes:
        teachers: Sections `[teacher]`.
        data: Sections `[data]`.
    """

    teachers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def recipe(self, name: str) -> dict[str, Any]:
        """A recipe as a client would send it, with names in place of its teacher and data.

        Raises:
            InputError: If there is none.
        """
        return {"name": name, **read_tables(recipe_path(name)), "data": {"name": name}, "teacher": {"name": name}}

    def config(self, values: dict[str, Any]) -> SearchConfig:
        """The configuration that a client sent, with what its names stand for.

        Raises:
            InputError: If it has a key that only the server may set, a text that is more than a name, a name that is
                not registered, or a value that is not allowed.
        """
        _check_keys(values)
        _check_texts(values)
        data, teacher = _replaced(values, "data", self.data), _replaced(values, "teacher", self.teachers)
        return parse_config({"name": "search", **values, "data": data, "teacher": teacher}, "configuration")


def read_registered(file: Path | None) -> Registered:
    """The names of the recipes, and those of a server's file.

    Args:
        file: TOML with tables `[teachers.NAME]` and `[data.NAME]`, each as the section `[teacher]` or `[data]` of a
            `search.toml`; relative paths are relative to its folder. None for the recipes alone.

    Raises:
        InputError: If it cannot be read, or something in it is not allowed.
    """
    named: dict[str, dict[str, Any]] = {"teachers": {}, "data": {}}
    for name in recipes():
        values = read_tables(recipe_path(name))
        named["teachers"][name], named["data"][name] = values["teacher"], values["data"]
    if file is not None:
        values = read_tables(file)
        if unknown := values.keys() - _TABLES.keys():
            raise InputError(f"{file}: {min(unknown)}: must be one of {', '.join(_TABLES)}.")
        for table, section in _TABLES.items():
            entries = values.get(table, {})
            if not isinstance(entries, dict):
                raise InputError(f"{file}: {table}: must be tables [{table}.NAME], but got {entries!r:.80}.")
            for name, given in entries.items():
                named[table][name] = _checked(name, given, section, file)
    return Registered(**named)


def _checked(name: str, given: Any, section: str, file: Path) -> dict[str, Any]:
    if not _HARMLESS.fullmatch(name):
        raise InputError(
            f"{file}: a name must be made of letters, digits, blanks and `_.+>,()-`, but got {name!r:.80}."
        )
    values = {section: given}
    make_paths_absolute(values, file.parent.resolve())
    try:
        _SECTIONS[section].model_validate(values[section])
    except ValidationError as error:
        raise InputError(f"{file}: {section} {name}: {one_line(error, _SECTIONS[section])}.") from None
    return dict(values[section])


def _check_keys(values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if key in _FREE:
            continue
        allowed = _SOME.get(key)
        if allowed is None:
            raise InputError(f"configuration: {key!r} is no key that a client may set{nearest_name(key, _FREE)}.")
        if not isinstance(value, dict) or value.keys() - allowed:
            raise InputError(f"configuration: of [{key}] a client may set only {', '.join(sorted(allowed))}.")
    if (engine := values.get("workers", {}).get("engine", _ENGINES[0])) not in _ENGINES:
        raise InputError(f"configuration: workers.engine must be one of {', '.join(_ENGINES)}, but got {engine!r}.")


def _check_texts(values: Mapping[str, Any]) -> None:
    if depth(values) > DEEPEST:
        raise InputError(f"configuration: sections and lists are nested more than {DEEPEST} deep.")
    for text in _texts(values):
        if not _HARMLESS.fullmatch(text) or is_file(text):
            raise InputError(
                f"configuration: a client may send names and numbers, no path, address or reference: got {text!r:.80}."
            )


def _texts(value: Any) -> Iterable[str]:
    """All texts in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from (key, *_texts(each))


def _replaced(values: Mapping[str, Any], section: str, known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A section with what its name stands for, and what else it sets."""
    given = dict(values.get(section, {}))
    name = given.pop("name", None)
    if not isinstance(name, str) or name not in known:
        near = nearest_name(name, known) if isinstance(name, str) else ""
        names = ", ".join(sorted(known))
        raise InputError(f"configuration: {section}.name must be one of {names}, but got {name!r:.80}{near}.")
    return {**known[name], **given}
