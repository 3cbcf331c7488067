"""The recipes of AutoKD by name."""

import os
from importlib import resources
from pathlib import Path

from autokd.config.schema import SearchConfig
from autokd.config.toml import read_config
from autokd.core.spelling import nearest_name
from autokd.errors import InputError

__all__ = ["find_config", "recipe_path", "recipes"]


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


def find_config(file_or_recipe: str, overrides: list[str], name: str | None = None) -> SearchConfig:
    """Configuration of a search from a TOML file or a recipe.

    Args:
        file_or_recipe: Path of a TOML file, or name of a recipe.
        overrides: Settings as `key=value`, which replace those of the file.
        name: Name of the search; by default that of the file or the recipe.

    Raises:
        InputError: If it is neither a file nor a recipe, or a setting is invalid.
    """
    path = Path(file_or_recipe)
    if path.suffix == ".toml" or os.path.exists(path):  # which takes names that are too long
        return read_config(path, overrides, name)
    return read_config(recipe_path(file_or_recipe), overrides, name)


def _folder() -> Path:
    return Path(str(resources.files("autokd.recipes")))
