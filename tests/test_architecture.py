"""What `docs/architecture.md` tells is true: its rooms are all there are, and its walks follow imports."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from tree import PACKAGES, Module, Tree

import autokd

ROOT = Path(autokd.__file__).parent.parent
HOUSE = Tree(ROOT)
PAGE = (ROOT / "docs" / "architecture.md").read_text()
STEP = re.compile(r"^\d+\. (?:(→|←) )?`([\w/.]+)`(?: by `([\w/.]+)`)?: (.+)$", re.MULTILINE)


class Step(NamedTuple):
    """A line of a walk: whether the file before imports this one or the other way round, and by which file."""

    arrow: str
    file: str
    by: str
    text: str


def walks(page: str) -> dict[str, list[Step]]:
    """The steps below each heading of the third level, where there are any."""
    sections = (section.partition("\n") for section in page.split("\n### ")[1:])
    found = {title: [Step(*groups) for groups in STEP.findall(text)] for title, _, text in sections}
    return {title: steps for title, steps in found.items() if steps}


def untrue(steps: list[Step], tree: Tree) -> list[str]:
    """Files of a walk that are not there, what they do not name, and imports that do not run as the arrows do."""
    modules = {str(module.file.relative_to(tree.root)): module for module in tree.modules.values()}
    if missing := [file for step in steps for file in (step.file, step.by) if file and file not in modules]:
        return [f"{file} is not there" for file in missing]
    unknown = [f"{name} is not in {step.file}" for step in steps for name in _unknown(step, modules)]
    arrows = [arrow for before, step in pairwise(steps) for arrow in _arrows(before, step)]
    return unknown + [f"{a} does not import {b}" for a, b in arrows if not _imports(tree, modules[a], modules[b])]


def _unknown(step: Step, modules: dict[str, Module]) -> Iterator[str]:
    """Names in the text that neither file holds."""
    words = set(re.findall(r"\w+", "".join(modules[file].text for file in (step.file, step.by) if file)))
    for name in re.findall(r"`([A-Za-z_][\w.]*)`", step.text):
        if not set(name.split(".")) <= words:
            yield name


def _arrows(before: Step, step: Step) -> list[tuple[str, str]]:
    """Pairs of an importing file and an imported one."""
    path = [before.file, *filter(None, [step.by]), step.file]
    return list(pairwise(path if step.arrow == "→" else path[::-1]))


def _imports(tree: Tree, module: Module, imported: Module) -> bool:
    return imported.name in {*tree.imported(module.nodes), *tree.named(module)}


def test_there_are_three_walks_of_ten_lines() -> None:
    assert [len(steps) for steps in walks(PAGE).values()] == [10, 10, 10]


@pytest.mark.parametrize("walk", walks(PAGE))
def test_a_walk_follows_imports(walk: str) -> None:
    first, *others = walks(PAGE)[walk]
    assert not first.arrow
    assert all(step.arrow for step in others)
    assert untrue([first, *others], HOUSE) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("→ `workers/gone.py`: it.", ["workers/gone.py is not there"]),
        ("→ `workers/b.py`: `f`.", ["workers/a.py does not import workers/b.py"]),
        ("← `workers/b.py`: `f`.", []),
        ("← `workers/b.py`: `f` and `g.h`.", ["g.h is not in workers/b.py"]),
        ("→ `workers/b.py` by `workers/c.py`: it.", ["workers/a.py does not import workers/c.py"]),
        ("← `workers/c.py` by `workers/b.py`: it.", []),
    ],
)
def test_a_line_that_is_not_true_is_found(line: str, found: list[str], tmp_path: Path) -> None:
    texts = {"a": "", "b": "def f():\n    import workers.a", "c": "import workers.b"}
    (tmp_path / "workers").mkdir()
    for name, text in texts.items():
        (tmp_path / "workers" / f"{name}.py").write_text(text)
    (steps,) = walks(f"\n### Walk\n\n1. `workers/a.py`: start.\n2. {line}\n").values()
    assert untrue(steps, Tree(tmp_path)) == found


@pytest.mark.parametrize("package", PACKAGES)
def test_the_rooms_are_those_of_the_package(package: str) -> None:
    (text,) = re.findall(rf"^### `{package}/`\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
    rooms = [name for name in HOUSE.children(package) if HOUSE.modules[f"{package}.{name}"].is_package]
    assert sorted(re.findall(r"^\| `(\w+)/`", text, re.MULTILINE)) == sorted(rooms)
