"""The generated references: each is complete."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import typer.main
from pages import PAGES, ROOT

from autokd.cli.app import app
from autokd.config.json_schema import search_schema
from autokd.distillation import METHODS
from search_spaces.design.registry import known_spaces, space

pytest.importorskip("mkdocs", reason="the extra docs is not installed")


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(text: str) -> list[str]:
    """The first cells of a page's tables, without the heads."""
    return re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)


def test_every_reference_has_a_page_and_every_page_a_reference(hooks: ModuleType) -> None:
    assert set(re.findall(r"<!-- generated: ([\w-]+) -->", "".join(PAGES.values()))) == set(hooks.GENERATED)


def test_links_to_measurements_lead_to_their_pages_which_stand_in_the_navigation(hooks: ModuleType) -> None:
    sources = {hooks._page_of(file.parent.name): file.read_text() for file in hooks.BENCHMARKS.rglob("RESULTS.md")}
    navigation = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    assert {page for page in sources if f": {page}\n" not in navigation} == set()
    for page, text in (PAGES | sources).items():
        shown = hooks.on_page_markdown(text, SimpleNamespace(file=SimpleNamespace(src_uri=page)), None, None)
        assert "RESULTS.md)" not in shown
        assert "RESULTS.md#" not in shown
        linked = re.findall(r"\]\((?:\.\./)*(measurements/[\w-]+\.md)", shown)
        assert set(linked) <= set(sources)


def test_the_configuration_is_whole(hooks: ModuleType) -> None:
    schema = search_schema()
    properties = [item for part in (schema, *schema["$defs"].values()) for item in part["properties"].items()]
    sections = {key for key, value in schema["properties"].items() if "$ref" in value} | {
        "training.augmentation",
        "budget.of_teacher",
        "data.splits",
        "teacher.pruning",
        "panel.assistants",
    }
    text = hooks.configuration()
    assert sorted(rows(text)) == sorted(f"`{key}`" for key, value in properties if "$ref" not in value)
    assert set(re.findall(r"^## `\[(.*)\]`$", text, re.MULTILINE)) == sections
    assert "| `seed` | integer, at least 0 and below 2^63^ | `0` |" in text
    assert "| `source` | string | required |" in text


def test_the_command_line_is_whole(hooks: ModuleType) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for verb, text in zip(commands, hooks.command_line().split("\n## ")[0:], strict=True):
        assert f"`autokd {verb}`" in text
        for option in (name for parameter in commands[verb].params for name in parameter.opts if name[0] == "-"):
            assert re.search(rf"{option}\b", text)


def test_every_dimension_is_in_its_spaces_table(hooks: ModuleType) -> None:
    for name, text in zip(known_spaces(), hooks.space_table().split("\n## "), strict=True):
        assert f"`{name}`" in text
        named = re.findall(r"`\w+`(?: \((\d+)\))?", " ".join(rows(text)))
        assert sum(int(count or 1) for count in named) == len(type(space(name)).dimensions)


def test_every_hyper_parameter_is_in_the_table(hooks: ModuleType) -> None:
    n_hyper_parameters = sum(len(method.distributions()) for method in METHODS.values())
    assert len(rows(hooks.method_table())) == n_hyper_parameters


def test_claims_are_those_that_the_results_mark(
    hooks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "headline").mkdir()
    lines = ["| S5 | A - teacher | -0.1 [-0.2, +0.0] | **reached** |", "| S7 | TR - H |  | **not measured yet** |"]
    (tmp_path / "headline" / "RESULTS.md").write_text("\n".join(["# Title", "", "### F", "", *lines, ""]))
    monkeypatch.setattr(hooks, "BENCHMARKS", tmp_path)
    table = hooks.claims()
    assert "| S5 | F | A - teacher | -0.1 [-0.2, +0.0] | reached |" in table
    assert "| S7 |  |  |  | not measured yet |" in table
    assert "TR - H" not in table
