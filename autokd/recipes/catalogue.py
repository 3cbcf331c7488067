"""The ready-made searches that come with AutoKD."""

import os
from importlib import resources
from pathlib import Path

from autokd.config.schema import SearchConfig
from autokd.config.toml import read_config
from autokd.core.spelling import nearest_name
from autokd.errors import InputError

__all__ = ["find_config", "recipe_path", "recipes"]


def recipes() -> dict[str, str]:
    """Every recipe's name with the line that describes it."""
    files = sorted(_folder().glob("*.toml"))
    return {file.stem: file.read_text().splitlines()[0].removeprefix("# ") for file in files}


def recipe_path(name: str) -> Path:
    """The TOML file of a recipe.

    Raises:
        InputError: If there is none of that name.
    """
    known = recipes()
    if name not in known:
        raise InputError(f"there is no recipe {name!r}: choose one of {', '.join(known)}{nearest_name(name, known)}.")
    return _folder() / f"{name}.toml"


def find_config(file_or_recipe: str, overrides: list[str], name: str | None = None) -> SearchConfig:
    """The configuration in a TOML file, or of a recipe.

    Raises:
        InputError: If it is neither, or says something that is not allowed.
    """
    path = Path(file_or_recipe)
    if path.suffix == ".toml" or os.path.exists(path):  # which takes names that are too long
        return read_config(path, overrides, name)
    return read_config(recipe_path(file_or_recipe), overrides, name)


def _folder() -> Path:
    return Path(str(resources.files("autokd.recipes")))
