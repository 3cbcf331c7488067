"""The recipes of AutoKD by name."""

import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from autokd.config.json_schema import TITLE, search_schema
from autokd.config.schema import SearchConfig
from autokd.config.toml import read_config
from autokd.core.files import write_json
from autokd.core.spelling import nearest_name
from autokd.errors import InputError

__all__ = ["SCHEMA_FILE", "find_config", "recipe_path", "recipes", "write_recipe"]

SCHEMA_FILE = "autokd.schema.json"


def recipes() -> dict[str, str]:
    """One-line description of every recipe, by name."""
    files = sorted(_folder().glob("*.toml"))
    return {file.stem: file.read_text().splitlines()[0].removeprefix("# ") for file in files}


def recipe_path(name: str) -> Path:
    """Path of the TOML file of a recipe.

    Raises:
        InputError: If there is no recipe of that name.
    """
    known = recipes()
    if name not in known:
        raise InputError(f"there is no recipe {name!r}: choose one of {', '.join(known)}{nearest_name(name, known)}.")
    return _folder() / f"{name}.toml"


def write_recipe(name: str, file: Path, overwrite: bool = False) -> None:
    """Write a recipe as an editable file whose first line leads editors to the schema that is written beside it.

    Args:
        name: The recipe.
        file: File to write.
        overwrite: Whether something else may be there.

    Raises:
        InputError: If there is no such recipe, or a file cannot be written.
    """
    text, schema = recipe_path(name).read_text(), file.parent / SCHEMA_FILE
    try:
        for path, is_ours in ((file, False), (schema, schema.is_file() and TITLE in schema.read_text())):
            if path.exists() and not is_ours and not overwrite:
                raise InputError(f"{path} exists: choose another name, or overwrite it with --force.")
        file.write_text(f"#:schema ./{SCHEMA_FILE}\n{text}")
        write_json(schema, search_schema())
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}.") from None


def find_config(
    file_or_recipe: str,
    overrides: list[str],
    name: str | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> SearchConfig:
    """Configuration of a search from a TOML file or a recipe.

    Args:
        file_or_recipe: Path of a TOML file, or name of a recipe.
        overrides: Settings as `key=value`, which replace those of the file.
        name: Name of the search; by default that of the file or the recipe.
        defaults: Sections that stand for those that neither of these has.

    Raises:
        InputError: If it is neither a file nor a recipe, or a setting is invalid.
    """
    path = Path(file_or_recipe)
    is_file = path.suffix == ".toml" or os.path.isfile(path)  # which takes names that are too long
    return read_config(path if is_file else recipe_path(file_or_recipe), overrides, name, defaults)


def _folder() -> Path:
    return Path(str(resources.files("autokd.recipes")))
