"""The JSON schema of a `search.toml`, described by the docstrings of its sections' classes.

Editors use it to check and complete a file, and the configuration reference is generated from it.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from autokd.config.schema import SearchConfig

__all__ = ["TITLE", "search_schema", "setting_keys"]

TITLE = "AutoKD search"


def search_schema() -> dict[str, Any]:
    """JSON schema of a file; `name` is optional in it, as it defaults to the name of the file."""
    schema = SearchConfig.model_json_schema(schema_generator=_Described)
    required = [key for key in schema["required"] if key != "name"]
    return schema | {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": TITLE, "required": required}


def setting_keys() -> Iterator[str]:
    """The dotted key of every setting, such as `training.rungs`."""
    schema = search_schema()
    return _keys("", schema, schema["$defs"])


def _keys(prefix: str, section: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[str]:
    for key, value in section["properties"].items():
        if "$ref" in value:
            inner = definitions[value["$ref"].rpartition("/")[2]]
            yield from _keys(f"{prefix}{key}.", inner, definitions)
        else:
            yield f"{prefix}{key}"


def _summary(docstring: str) -> str:
    """Part of a docstring before its sections, with each paragraph on one line."""
    text = re.split(r"\n\w+:\n", docstring)[0]
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n"))


def _attributes(docstring: str) -> dict[str, str]:
    """Description of each attribute in the `Attributes` section of a docstring, on one line."""
    found = re.search(r"\nAttributes:\n((?: {4}.*\n?)*)", docstring)
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", found[1] if found else "", re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


class _Described(GenerateJsonSchema):
    """Generator of the sections with the descriptions in their docstrings and in those of their base classes.

    It leaves out `null`, which TOML does not have, defaults of whole sections, and titles that repeat keys.
    """

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        found, section = super().model_schema(schema), schema["cls"]
        found["description"] = _summary(inspect.getdoc(section) or "")
        for kind in reversed(section.__mro__):
            for key, text in _attributes(inspect.getdoc(kind) or "").items():
                if key in found["properties"]:
                    found["properties"][key]["description"] = text
        return found

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        is_repeated = isinstance(schema.get("default"), BaseModel | None)
        return self.generate_inner(schema["schema"]) if is_repeated else super().default_schema(schema)

    def field_title_should_be_set(self, schema: object) -> bool:
        return False
