from pathlib import Path

import pytest

from autokd.errors import InputError
from autokd.recipes.catalogue import find_config, recipe_path, recipes
from autokd.teachers.weights import find_path


def test_every_recipe_has_a_description_and_can_be_read() -> None:
    assert "digits" in recipes()
    for name, description in recipes().items():
        config = find_config(name, [])
        assert (config.name, len(description) > 20) == (name, True)


@pytest.mark.parametrize("name", sorted(recipes()))
def test_every_recipe_contains_the_weights_of_its_teacher(name: str) -> None:
    weights = find_config(name, []).teacher.weights
    assert weights is not None
    assert find_path(weights, "teacher.weights").is_file()


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"there is no recipe 'digit': choose one of digits.*; the nearest known is"):
        recipe_path("digit")


def test_a_path_is_read_as_a_file_and_not_as_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(recipe_path("digits").read_text())
    config = find_config(str(path), ["trials=3"], "renamed")
    assert (config.name, config.trials) == ("renamed", 3)
    with pytest.raises(InputError, match=r"nowhere.toml: No such file"):
        find_config(str(tmp_path / "nowhere.toml"), [])
