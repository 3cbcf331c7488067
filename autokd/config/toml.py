"""A `search.toml` and `--set key=value` as a checked configuration."""

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from autokd.config.compatibility import RECORDED
from autokd.config.data import NAMED_SOURCES
from autokd.config.flat import depth, flat
from autokd.config.learn_from import is_file
from autokd.config.names import named_like
from autokd.config.parsing import DEEPEST, parse_config
from autokd.config.schema import RESUMABLE_CHANGES, SearchConfig
from autokd.errors import InputError

__all__ = ["make_paths_absolute", "override_config", "parse_tables", "put", "read_config", "read_tables"]

FOLDER_KINDS = ("hf", "timm", "transformers")
"""Words in front of the colon behind which a name may be a folder."""
SQLITE = "sqlite:///"
"""What the URI of a database file begins with; a fourth slash is that of an absolute path."""
EXCLUSIVE = {"space": ("name", "names"), "distillation": ("method", "methods")}
"""Keys for one choice and for several, which exclude each other, of each section that has both."""


def read_config(
    path: Path, overrides: Iterable[str] = (), name: str | None = None, defaults: Mapping[str, Any] | None = None
) -> SearchConfig:
    """Configuration from a TOML file; relative paths in it are relative to its folder.

    Args:
        path: The file.
        overrides: Settings `key=value` with dotted keys and values in TOML, such as "training.rungs=[1, 3]". Relative
            paths in them are relative to the current folder.
        name: Name of the search; by default the `name` in the file or, if there is none, the stem of the file,
            with a hyphen for what a name may not contain.
        defaults: Sections that stand for those that neither the file nor an override has.

    Raises:
        InputError: If there is no such file, it is not TOML, or a value in it is not allowed.
    """
    values = read_tables(path)
    make_paths_absolute(values, path.parent.resolve())
    values.setdefault("name", named_like(path.stem))
    overrides = list(overrides)
    for override in overrides:
        _set(values, override)
    if name is not None:  # as it is, even if TOML would read it as a number
        values["name"] = name
        overrides.append(f"name={name}")
    make_paths_absolute(values, Path.cwd())
    return parse_config({**(defaults or {}), **values}, str(path), overrides)


def override_config(config: SearchConfig, overrides: Iterable[str]) -> SearchConfig:
    """Recorded configuration with some settings `key=value` changed.

    Relative paths of what a resumed search may change are relative to the current folder; others stay as recorded.

    Raises:
        InputError: If a key does not exist or a value is not allowed.
    """
    values = config.to_dict()
    for override in overrides:
        _set(values, override)
    make_paths_absolute({key: values[key] for key in RESUMABLE_CHANGES & values.keys()}, Path.cwd())
    return parse_config(values, "--set", context=RECORDED)


def put(values: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in nested tables, in place of another key for the same choice.

    Args:
        values: Nested tables of sections and keys, which are changed.
        key: The key, such as "training.rungs".
        value: Its value.

    Raises:
        InputError: If a section in the key is a value.
    """
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise InputError(f"{key}: {section!r} is a value, not a section.")
    one, several = EXCLUSIVE.get(".".join(sections), ("", ""))
    if last == several:
        values.pop(one, None)
    elif last == one and values.pop(several, None) is not None and isinstance(ranges := values.get("ranges", {}), dict):
        values["ranges"] = _own_ranges(ranges, str(value))
    values[last] = value


def make_paths_absolute(values: dict[str, Any], folder: Path) -> None:
    """Replace paths relative to `folder` in plain values by absolute ones."""
    data, optimizer, panel = values.get("data"), values.get("optimizer"), values.get("panel")
    if isinstance(data, dict):
        source = data.get("source")
        if isinstance(source, str) and source not in NAMED_SOURCES:
            is_path = _is_path(source, folder)
            data["source"] = str(folder / source) if is_path else _absolute_folder(source, folder)
        for key in ("folder", "cache"):
            if isinstance(files := data.get(key), str):
                data[key] = str(folder / files)
    assistants = panel.get("assistants") if isinstance(panel, dict) else None
    for network in (values.get("teacher"), *(assistants if isinstance(assistants, list) else ())):
        if isinstance(network, dict):
            _make_files_absolute(network, folder)
    if isinstance(optimizer, dict) and isinstance(earlier := optimizer.get("learn_from"), list):
        absolute = [str(folder / each) if isinstance(each, str) and is_file(each) else each for each in earlier]
        optimizer["learn_from"] = absolute
    if isinstance(tracking := values.get("tracking"), dict):
        if isinstance(place := tracking.get("tensorboard"), str):
            tracking["tensorboard"] = str(folder / place)
        if isinstance(place := tracking.get("mlflow"), str) and place.startswith(SQLITE):
            tracking["mlflow"] = SQLITE + str(folder / place.removeprefix(SQLITE))


def read_tables(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        InputError: If there is no such file, or it is not TOML.
    """
    try:
        return parse_tables(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.") from None
    except ValueError as error:
        raise InputError(f"{path} is not TOML: {error}.") from None


def parse_tables(text: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        ValueError: If it is not TOML, too deeply nested, or has numbers too long for Python.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _make_files_absolute(network: dict[str, Any], folder: Path) -> None:
    """The same for what a teacher or an assistant is made from."""
    if isinstance(factory := network.get("factory"), str):
        network["factory"] = _absolute_folder(factory, folder)
    for key in ("architecture", "weights", "alternatives", "checkpoints", "onnx", "outputs"):
        if isinstance(file := network.get(key), str):
            network[key] = _absolute(file, folder)
        elif isinstance(file, list):
            network[key] = [_absolute(each, folder) if isinstance(each, str) else each for each in file]


def _absolute(file: str, folder: Path) -> str:
    """Absolute path of a file; a file in a package, "package:file", is left as it is."""
    return file if ":" in file else str(folder / file)


def _absolute_folder(name: str, folder: Path) -> str:
    """A name such as "transformers:FOLDER" with the absolute path, if there is such a folder."""
    kind, _, place = name.partition(":")
    is_folder = kind in FOLDER_KINDS and place and os.path.isdir(folder / place)
    return f"{kind}:{folder / place}" if is_folder else name


def _is_path(source: str, folder: Path) -> bool:
    return source.endswith(".npz") or os.path.exists(folder / source)


def _set(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise InputError(f"an override must be `key=value`, but got {override!r}.")
    try:
        value = parse_tables(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    except ValueError as error:
        raise InputError(f"override {key.strip()!r}: {error}.") from None
    put(values, key.strip(), value)


def _own_ranges(ranges: dict[str, Any], choice: str) -> dict[str, Any]:
    """Of the ranges of several choices those of one, without its name."""
    if depth(ranges) > DEEPEST:
        raise InputError(f"ranges: sections and lists are nested more than {DEEPEST} deep.")
    own = f"{choice}."
    return {key.removeprefix(own): each for key, each in flat(ranges) if key.startswith(own)}
