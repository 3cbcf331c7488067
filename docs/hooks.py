"""What the site shows beside the written pages: references generated from the code, and the measurements.

A page asks for a reference by a comment such as `<!-- generated: configuration -->`, and `python docs/hooks.py NAME`
prints it.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from inspect import signature
from math import log
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from autokd.cli.app import app
from autokd.config.json_schema import search_schema
from autokd.distillation import METHODS
from search_spaces.design.registry import known_spaces, space

__all__ = [
    "GENERATED",
    "claims",
    "command_line",
    "configuration",
    "method_table",
    "on_files",
    "on_page_markdown",
    "space_table",
]

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ROOT / "tests" / "benchmarks"
COUNTER = re.compile(r"(?<=[a-z_])\d+(?=_|$)")  # dimensions that differ in these alone are one row
LARGE = 10**9  # written as a power
MOST_NAMES = 4  # in a row
MARK = re.compile(r"<!-- generated: ([\w-]+) -->")
CLAIMS = (*(f"S{number}" for number in range(1, 8) if number != 4), "P(best)")  # S4 is that there are three data sets
NOT_MEASURED = "not measured yet"
RESULTS = re.compile(r"\((?:(?:\.\./)+tests/benchmarks/|(?:\.\./)?(?=\w+/))(?:(\w+)/)?RESULTS\.md(#[\w-]+)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the measurements, which lie beside the benchmarks that make them."""
    for source in sorted(BENCHMARKS.rglob("RESULTS.md")):
        files.append(File.generated(config, _page_of(source.parent.name), content=source.read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in what is generated, and lead links to measurements to their pages."""
    up = "../" * page.file.src_uri.count("/")
    markdown = RESULTS.sub(lambda found: f"({up}{_page_of(found[1] or 'benchmarks')}{found[2] or ''})", markdown)
    return MARK.sub(lambda found: GENERATED[found[1]](), markdown)


def _page_of(folder: str) -> str:
    return f"measurements/{'overview' if folder == 'benchmarks' else folder}.md"


# --- the configuration


def configuration() -> str:
    """Every section and key of a `search.toml`."""
    schema = search_schema()
    sections = _sections("", schema, schema["$defs"], set())
    return "\n\n".join(_section(title, section, schema["$defs"]) for title, section in sections)


def _sections(
    title: str, section: Mapping[str, Any], definitions: Mapping[str, Any], shown: set[str]
) -> Iterator[tuple[str, Any]]:
    """A section and those within it, each kind once; lists of sections, too."""
    yield title, section
    for key, value in section["properties"].items():
        referring = value.get("items", value)
        if "$ref" in referring and (name := _referred(referring)) not in shown:
            shown.add(name)
            yield from _sections(f"{title}.{key}".strip("."), definitions[name], definitions, shown)


def _section(title: str, section: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    required = section.get("required", ())
    rows = [
        (f"`{key}`", _kind(value), "required" if key in required else _default(value), value["description"])
        for key, value in section["properties"].items()
        if "$ref" not in value
    ]
    heading = f"## `[{title}]`" if title else "## Before the first section"
    return f"{heading}\n\n{section['description']}\n\n{_table(('key', 'value', 'default', 'what it says'), rows)}"


def _referred(value: Mapping[str, Any]) -> str:
    return str(value["$ref"]).rpartition("/")[2]


def _default(value: Mapping[str, Any]) -> str:
    default = value.get("default")
    return "" if default is None else f"`{_toml(default)}`"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return f"{value:_}" if isinstance(value, int) else str(value)


def _kind(value: Mapping[str, Any]) -> str:
    """A JSON schema's type in words."""
    if "$ref" in value:
        return "table"
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(map(_kind, value["anyOf"])))
    if "enum" in value:
        return " or ".join(f"`{_toml(choice)}`" for choice in value["enum"])
    if value["type"] == "array":
        items = value.get("items") or value["prefixItems"][0]
        return f"list of {_kind(items)}"
    if value["type"] == "object":
        return "table"
    return {"boolean": "`true` or `false`"}.get(value["type"], value["type"]) + _bounds(value)


def _bounds(value: Mapping[str, Any]) -> str:
    signs = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    bounds = [f"{sign} {_short(value[key])}" for key, sign in signs.items() if key in value]
    return f", {' and '.join(bounds)}" if bounds else ""


def _short(number: float) -> str:
    for base in (2, 10):
        power = round(log(number, base)) if number >= LARGE else 0
        if power and number == base**power:
            return f"{base}^{power}^"
    return f"{number:,}"


# --- the command line


def command_line() -> str:
    """Every verb with its arguments and options."""
    group = typer.main.get_command(app)
    return "\n\n".join(_verb(name, verb) for name, verb in group.commands.items())  # type: ignore[attr-defined]


def _verb(name: str, verb: Any) -> str:
    types = {key: _plain_type(annotation) for key, annotation in get_type_hints(verb.callback).items()}
    arguments = [p for p in verb.params if p.param_type_name == "argument"]
    options = [p for p in verb.params if p.param_type_name == "option"]
    needed = [f"{p.opts[0]}{_value(p, types[p.name])}" for p in options if p.required]
    words = [_argument(p) if p.required else _optional(_argument(p)) for p in arguments]
    usage = " ".join(["autokd", name, *words, *needed, *(["[OPTIONS]"] if options else [])])
    rows = [(f"`{_argument(p)}`", _help(p)) for p in arguments]
    rows += [(f"`{', '.join(p.opts)}{_value(p, types[p.name])}`", _help(p)) for p in options]
    table = [_table(("argument or option", "meaning"), rows)] if rows else []
    return "\n\n".join([f"## `autokd {name}`", verb.help, f"    {usage}", *table])


def _argument(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _optional(word: str) -> str:
    """A word of the usage that may be left out; that of several arguments has its brackets already."""
    return word if word.startswith("[") else f"[{word}]"


def _plain_type(annotation: Any) -> Any:
    """The type of an option without None and without list."""
    inner = next((part for part in get_args(annotation) if part is not NoneType), annotation)
    return annotation if get_origin(annotation) is Literal else inner


def _value(option: Any, kind: Any) -> str:
    if kind is bool:
        return ""
    return " " + (" or ".join(get_args(kind)) if get_origin(kind) is Literal else option.metavar or option.name.upper())


def _help(parameter: Any) -> str:
    shown = parameter.show_default if isinstance(parameter.show_default, str) else parameter.default
    default = "" if shown in (None, False) or callable(shown) else f" Default: {shown}."
    environment = f" Environment: `{parameter.envvar}`." if parameter.envvar else ""
    return f"{parameter.help}{default}{environment}"


# --- what is searched


def space_table() -> str:
    """The dimensions of every search space."""
    return "\n\n".join(_space(name) for name in known_spaces())


def _space(name: str) -> str:
    names: dict[tuple[str, ...], list[str]] = {}
    for key, dimension in type(space(name)).dimensions.items():
        parent = dimension.parent and f"used where `{re.sub(COUNTER, 'N', dimension.parent)}` asks for it"
        fixed = None if dimension.default is None else f"fixed to `{_toml(dimension.default)}` unless a range is given"
        row = (re.sub(COUNTER, "N", key), _range(dimension.distribution), fixed or parent or "")
        names.setdefault(row, []).append(key)
    rows = [(_few(pattern, keys), *row) for (pattern, *row), keys in names.items()]
    return f"## `{name}`\n\n{_table(('dimension', 'range', ''), rows)}"


def _few(pattern: str, keys: list[str]) -> str:
    """The names, or how many there are of a pattern."""
    return ", ".join(f"`{key}`" for key in keys) if len(keys) <= MOST_NAMES else f"`{pattern}` ({len(keys)})"


def method_table() -> str:
    """The hyper-parameters of every distillation method."""
    rows = []
    for name, method in METHODS.items():
        defaults = signature(method).parameters
        for key, distribution in method.distributions().items():
            default = defaults[key].default
            shown = "depends on the others" if default is None else f"`{_toml(default)}`"
            rows.append((f"`{name}`", f"`{key}`", _range(distribution), shown))
    return _table(("method", "hyper-parameter", "range", "default"), rows)


def _range(distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(f"`{_toml(choice)}`" for choice in distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    step = f" in steps of {distribution.step}" if distribution.step not in (None, 1) else ""
    return f"{distribution.low:g} to {distribution.high:g}{step}{', logarithmic' if distribution.log else ''}"


# --- what is claimed


def claims() -> str:
    """The claims that the headline's results mark, and those that nothing was measured for yet."""
    text = (BENCHMARKS / "headline" / "RESULTS.md").read_text()
    rows: list[tuple[str, ...]] = []
    for part in text.split("\n### ")[1:]:
        data = part.partition("\n")[0]
        found = re.findall(r"^\| (S\d|P\(best\)) \| (.*?) \| (.*?) \| \*\*(.*?)\*\* \|$", part, re.MULTILINE)
        rows += [(name, data, number, value, mark) for name, number, value, mark in found if mark != NOT_MEASURED]
    measured = {row[0] for row in rows}
    rows += [(name, "", "", "", NOT_MEASURED) for name in CLAIMS if name not in measured]
    return _table(("claim", "data", "number", "measured", "mark"), sorted(rows, key=lambda row: row[0]))


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in line) + " |" for line in lines
    )


GENERATED: Mapping[str, Callable[[], str]] = {
    "configuration": configuration,
    "command-line": command_line,
    "spaces": space_table,
    "methods": method_table,
    "claims": claims,
}


if __name__ == "__main__":
    print(GENERATED[sys.argv[1]]())
