import tomllib
from typing import Any

import pytest

from autokd.config.flat import flat
from autokd.config.json_schema import search_schema, setting_keys
from autokd.config.parsing import parse_config
from autokd.config.schema import TrainingConfig
from autokd.recipes.catalogue import recipe_path, recipes

jsonschema = pytest.importorskip("jsonschema")
SCHEMA = search_schema()
RECIPE = tomllib.loads(recipe_path("digits").read_text())


def changed(key: str, value: Any) -> dict[str, Any]:
    """The recipe with another value of a key."""
    section, _, name = key.rpartition(".")
    return RECIPE | ({section: RECIPE.get(section, {}) | {name: value}} if section else {name: value})


def is_valid(values: dict[str, Any]) -> bool:
    return bool(jsonschema.Draft202012Validator(SCHEMA).is_valid(values))


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("section", ["", *SCHEMA["$defs"]])
def test_every_section_and_key_is_described(section: str) -> None:
    found = SCHEMA["$defs"][section] if section else SCHEMA
    assert found["description"]
    assert {key for key, value in found["properties"].items() if not {"description", "$ref"} & set(value)} == set()


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_is_valid(name: str) -> None:
    assert is_valid(tomllib.loads(recipe_path(name).read_text()))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("teacher.resize", 160),
        ("teacher.resize", [160, 120]),
        ("teacher.output", "logits"),
        ("distillation.ranges", {"kd+at": {"kd": {"weight": 0.9}}, "kd.temperature": [1, 4]}),
        ("space.ranges", {"merge": ["sum", "concat"], "pruned": False}),
        ("training.augmentation", {"shift": 1}),
        ("data.cache", "folder"),
        ("seconds", 1.5),
    ],
)
def test_what_the_parser_takes_is_valid(key: str, value: Any) -> None:
    assert parse_config(changed(key, value) | {"name": "test"})
    assert is_valid(changed(key, value))


@pytest.mark.parametrize(
    ("key", "value"),
    [("trials", 0), ("trails", 3), ("training.rungs", []), ("final.keep", "worst"), ("training.ema", 1.0)],
)
def test_what_the_parser_refuses_is_not_valid(key: str, value: Any) -> None:
    assert not is_valid(changed(key, value))


def test_a_description_is_one_line_of_the_docstring() -> None:
    described = SCHEMA["$defs"]["TrainingConfig"]["properties"]["views"]["description"]
    assert described in " ".join((TrainingConfig.__doc__ or "").split())
    assert described.startswith("Number of distinct augmented views")


def test_every_setting_has_its_key() -> None:
    open_tables = ("space.ranges", "distillation.ranges", "optimizer.options")
    config = dict(flat(parse_config(RECIPE | {"name": "test"}).to_dict()))
    known = set(setting_keys())
    assert {key for key in config if key not in known and not key.startswith(open_tables)} == set()
    assert {"training.rungs", "training.augmentation.shift", "budget.of_teacher.params", *open_tables} <= known
