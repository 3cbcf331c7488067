"""The text of README.md and docs/: its size, and that the commands, options, keys and names in it exist."""

import ast
import re
import tomllib
from inspect import signature
from typing import Any

import pytest
import typer.main
from optuna.distributions import FloatDistribution
from pages import EVERYTHING, PAGES, README, ROOT, block, blocks

import autokd
from autokd.cli.app import app
from autokd.config.json_schema import search_schema
from autokd.config.parsing import parse_config
from autokd.config.schema import DistillationConfig, SpaceConfig
from autokd.distillation import METHODS
from autokd.export.manifest import FILES
from autokd.searches.method_choice import MethodChoice
from search_spaces.design.budget import LIMITS
from search_spaces.design.registry import known_spaces, space, space_of

MOST_README_BYTES = 8192
MOST_LINES = 250
PROGRAM = typer.main.get_command(app)
COMMANDS = PROGRAM.commands  # type: ignore[attr-defined]
LINES = sorted(set(re.findall(r"`(autokd [^`\n]*)`|^    (autokd .*)$", EVERYTHING, re.MULTILINE)))


def options(verb: str) -> set[str]:
    """The options of a command."""
    return {option for parameter in COMMANDS[verb].params for option in parameter.opts if option.startswith("-")}


def names(table: str) -> set[str]:
    """What the first column of a table names in code."""
    return set(re.findall(r"`([\w-]+)`", " ".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE))))


# --- size and links


def test_the_readme_is_short() -> None:
    assert len(README.encode()) <= MOST_README_BYTES


def test_no_page_is_long() -> None:
    assert {name: n for name, text in PAGES.items() if (n := text.count("\n")) > MOST_LINES} == {}


def test_the_readme_links_to_what_is_there() -> None:
    targets = re.findall(r'\]\(([^)#]+)|src="([^"]+)"', README)
    files = {"".join(target) for target in targets if not "".join(target).startswith("https://")}
    assert {file for file in files if not (ROOT / file).exists()} == set()


def test_every_page_has_a_place_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    assert {page for page in PAGES if f": {page}\n" not in navigation} == set()


def test_the_pictures_are_small() -> None:
    assert all(picture.stat().st_size < 200_000 for picture in (ROOT / "docs" / "images").iterdir())


# --- commands and keys


def test_the_two_commands_of_make_are_in_the_readme() -> None:
    assert {"make search", "make test"} <= set(re.findall(r"^    (make \w+)", README, re.MULTILINE))


@pytest.mark.parametrize("line", LINES, ids="".join)
def test_every_command_line_has_a_verb_and_options_that_exist(line: tuple[str, str]) -> None:
    verb, *words = "".join(line).split()[1:]
    if verb.startswith("-"):
        assert verb in {option for parameter in PROGRAM.params for option in parameter.opts}
    elif verb != "VERB":
        assert {word for word in words if word.startswith("-")} <= options(verb)


def test_every_option_that_the_text_names_exists() -> None:
    known = {option for verb in COMMANDS for option in options(verb)}
    named = set(re.findall(r"`(--?[a-z-]+)\b", EVERYTHING))
    assert {"--set", "--export", "--home", "--data"} <= named
    assert named <= known


def test_every_command_but_those_that_write_text_answers_in_json() -> None:
    assert {verb for verb in COMMANDS if "-o" not in options(verb)} == {"init", "schema"}


def test_every_key_that_the_text_names_exists() -> None:
    schema = search_schema()
    sections = {key: value["$ref"].rpartition("/")[2] for key, value in schema["properties"].items() if "$ref" in value}
    named = set(re.findall(rf"`({'|'.join(sections)})\.(\w+)(?: = [^`]*)?`", EVERYTHING))
    assert len(named) >= 20
    for section, key in named:
        assert key in schema["$defs"][sections[section]]["properties"], f"{section}.{key}"


@pytest.mark.parametrize("text", blocks("toml"), ids=lambda text: text.split("\n")[0])
def test_every_settings_file_can_be_read(text: str) -> None:
    least: dict[str, Any] = {
        "name": "test",
        "data": {"source": "digits"},
        "teacher": {"factory": "my_module:teacher"},
        "budget": {"params": 1000},
    }
    parse_config(least | tomllib.loads(text))


def test_the_limits_are_those_of_a_budget() -> None:
    lines = re.findall(r"^params = 100_000 +# and (.*)$", EVERYTHING, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        assert {"params", *line.split(", ")} == set(LIMITS)


# --- what is listed


def test_every_method_is_listed() -> None:
    table = PAGES["distillation-methods.md"].split("| name |")[1].split("\n\n")[0]
    assert names(table) == set(METHODS)


def test_every_space_is_listed() -> None:
    table = PAGES["search-spaces.md"].split("| name |")[1].split("\n\n")[0]
    assert names(table) == set(known_spaces())


def test_every_option_of_a_space_is_listed_with_it() -> None:
    table = PAGES["search-spaces.md"].split("| option | of |")[1].split("\n\n")[0]
    rows = [[re.findall(r"`([\w-]+)`", cell) for cell in row.split("|")[1:3]] for row in table.split("\n")[2:]]
    of_constructors = {
        (option, name)
        for name in known_spaces()
        for option, each in signature(type(space(name))).parameters.items()
        if each.kind is each.KEYWORD_ONLY and option not in ("width", "max_width")
    }
    assert {(option, name) for options, spaces in rows for option in options for name in spaces} == of_constructors


def test_the_exported_files_are_those_of_an_export() -> None:
    page = PAGES["howto/export.md"].split("| file |")[1].split("\n\n")[0]
    files = {*FILES, "manifest.json"}
    assert set(re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE)) == files
    assert all(f"`{file}`" in README for file in files)


def test_the_public_names_are_public() -> None:
    assert {"search", "Budget"} <= _public_names(block("python", "autokd.search(", README))
    named = set(re.findall(r"\bautokd\.([A-Z]\w+)", EVERYTHING))
    assert {"Budget", "TrustRegionSampler"} <= named <= set(autokd.__all__)


def _public_names(program: str) -> set[str]:
    attributes = [node for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Attribute)]
    return {node.attr for node in attributes if isinstance(node.value, ast.Name) and node.value.id == "autokd"}


def test_the_methods_of_the_example_can_be_searched() -> None:
    choice = MethodChoice(DistillationConfig(**tomllib.loads(block("toml", "ctkd+dkd"))["distillation"]))
    choice.check()
    assert "kd+at.kd.weight" not in choice.dimensions
    assert "kd.temperature" in choice.dimensions


def test_the_schedule_of_the_example_can_be_searched() -> None:
    choice = MethodChoice(DistillationConfig(**tomllib.loads(block("toml", "fitnet>dist"))["distillation"]))
    choice.check()
    switches = [key for key in choice.dimensions if key.endswith("switch")]
    assert switches == ["fitnet>dist.switch", "kd>dist.switch"]
    assert choice.dimensions["fitnet>dist.switch"].distribution == FloatDistribution(0.2, 0.6)


@pytest.mark.parametrize("text", [text for text in blocks("toml") if "top_nodes" in text or "pruned" in text])
def test_the_ranges_of_the_examples_are_those_of_the_space(text: str) -> None:
    section = tomllib.loads(text)["space"]
    config = SpaceConfig(**section)
    assert space_of(config.listed, config.ranges)
