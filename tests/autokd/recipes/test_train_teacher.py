import json

import pytest

from autokd.config.toml import read_config
from autokd.recipes.catalogue import recipe_path, recipes
from autokd.recipes.train_teacher import TRAININGS


def test_every_recipe_has_a_training_of_its_teacher() -> None:
    assert TRAININGS.keys() == recipes().keys()


@pytest.mark.parametrize("recipe", TRAININGS)
def test_the_settings_are_those_by_which_the_shipped_teacher_was_trained(recipe: str) -> None:
    recorded = json.loads(recipe_path(recipe).with_suffix(".json").read_text())
    training = read_config(recipe_path(recipe), TRAININGS[recipe].overrides).training
    assert TRAININGS[recipe].epochs == recorded["epochs"]
    assert training.batch_size == recorded["batch_size"]
    assert training.augmentation.model_dump(include=set(recorded["augmentation"])) == recorded["augmentation"]
    settings = {key: value for key, value in recorded["settings"].items() if key != "momentum"}
    assert training.model_dump(include=set(settings)) == settings
