"""The rules of the house hold for our packages, and each rule finds a violation that is planted."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import rules
from args_sections import missing_args_sections
from old_names import old_names
from order import ORDER
from tree import PACKAGES, Tree

import autokd

HOUSE = Tree(Path(autokd.__file__).parent.parent)

RULES: dict[str, Callable[[Tree], list[str]]] = {
    "every child of a package has its place in the order": partial(rules.unplaced, order=ORDER),
    "an import runs only to a child listed before": partial(rules.upward_imports, order=ORDER),
    "no two packages import each other": rules.mutual_imports,
    "imports go round in no circle": rules.circles,
    "search spaces and workers import nothing of ours": rules.foreign_imports,
    "no import is relative": rules.relative_imports,
    "old addresses are for users": rules.imports_of_old_addresses,
    "an evaluation loads no database, optimiser, search or face": rules.loaded_by_workers,
    "only searches join database and optimisers": rules.joins,
    "workers load no torch when they are imported": rules.torch_in_workers,
    "a public class has one definition": rules.defined_twice,
    "every extra is imported": rules.unused_extras,
    "no old name is left": old_names,
    "every column is read": rules.unread_columns,
    "public functions explain three parameters or more": missing_args_sections,
    "few files lie loose": rules.loose_files,
    "no file outgrows its subject": rules.long_files,
}

LISTED = {"autokd": "one two", "autokd.one": "first second"}
PROJECT = '[project]\noptional-dependencies = {test = ["pytest"], web = ["fast-api>=1"], sql = ["psycopg[binary]"]}'
MODELS = "class Trial:\n    number: Mapped[int]\n    seen: Mapped[int] = mapped_column()\n    plain: int"
UNEXPLAINED = """
def f(a, b, *c): 'Args: in the first line is no section.'
def g(a, b): ...
def _h(a, b, c): ...
@app.command("h")
def h(a, b, c): ...
@router.get("/h")
def r(a, b, c): ...
class A:
    def one(self, a, b, c):
        '''First line.

        Args:
            a: ...
        '''
    def two(self, a, b): ...
    def other(self, a, *, b, c): ...
"""
OVERRIDING = """
class Between(a.A[int]): ...
class B(Between):
    def one(self, a, b, c): ...
    @staticmethod
    def static(a, b, c): ...
"""

PLANTED: dict[str, tuple[Callable[[Tree], list[str]], dict[str, str], list[str]]] = {
    "a child without a place": (
        partial(rules.unplaced, order=LISTED),
        {"autokd/one/first.py": "", "autokd/one/second.py": "", "autokd/two.py": "", "autokd/three.py": ""},
        ["autokd.three has no place in the order"],
    ),
    "a place without its child": (
        partial(rules.unplaced, order=LISTED),
        {"autokd/one/first.py": "", "autokd/two.py": ""},
        ["autokd.one.second is gone"],
    ),
    "a place in a package that is gone": (
        partial(rules.unplaced, order=LISTED),
        {"autokd/one.py": "", "autokd/two.py": ""},
        ["autokd.one is gone"],
    ),
    "an import of a later package": (
        partial(rules.upward_imports, order=LISTED),
        {"autokd/one/first.py": "def f():\n    from autokd.two import g", "autokd/two.py": "import autokd.one.first"},
        ["autokd.one.first imports autokd.two"],
    ),
    "an import of a later module": (
        partial(rules.upward_imports, order=LISTED),
        {"autokd/one/first.py": "from autokd.one import second", "autokd/one/second.py": ""},
        ["autokd.one.first imports autokd.one.second"],
    ),
    "an import of the package around": (
        partial(rules.upward_imports, order=LISTED),
        {"autokd/one/__init__.py": "import autokd.one.first", "autokd/one/first.py": ""},
        ["autokd.one imports autokd.one.first"],
    ),
    "packages that import each other": (
        rules.mutual_imports,
        {"autokd/one/a.py": "import autokd.two.a", "autokd/two/a.py": "", "autokd/two/b.py": "import autokd.one"},
        ["autokd.one and autokd.two"],
    ),
    "a circle": (
        rules.circles,
        {"autokd/a.py": "import autokd.b", "autokd/b.py": "if True:\n    import autokd.a"},
        ["autokd.a -> autokd.b -> autokd.a"],
    ),
    "a package that stands alone and leans on another": (
        rules.foreign_imports,
        {"workers/a.py": "def f():\n    import search_spaces.b", "search_spaces/b.py": "import numpy"},
        ["workers.a imports search_spaces.b"],
    ),
    "a relative import": (rules.relative_imports, {"workers/a.py": "\nfrom . import b"}, ["workers.a, line 2"]),
    "an old address": (
        rules.imports_of_old_addresses,
        {"search_spaces/space.py": "", "autokd/a.py": "from search_spaces.space import Space"},
        ["autokd.a imports search_spaces.space"],
    ),
    "a database two imports behind an evaluation": (
        rules.loaded_by_workers,
        {
            "autokd/evaluation/a.py": "def f():\n    import autokd.core.b",
            "autokd/core/b.py": "import autokd.database.c",
            "autokd/database/c.py": "",
        },
        ["autokd.core.b imports autokd.database", "autokd.core.b imports autokd.database.c"],
    ),
    "an optimiser that an evaluation names in a string": (
        rules.loaded_by_workers,
        {"autokd/evaluation/a.py": "x = 'autokd.optimizers:f'", "autokd/optimizers/__init__.py": ""},
        ["autokd.evaluation.a imports autokd.optimizers"],
    ),
    "a search that a package imports on first use": (
        rules.loaded_by_workers,
        {
            "autokd/evaluation/a.py": "from autokd.core import f",
            "autokd/core/__init__.py": "if TYPE_CHECKING:\n    from autokd.searches import f\ndef __getattr__(n): ...",
            "autokd/searches/__init__.py": "",
        },
        ["autokd.core imports autokd.searches"],
    ),
    "a search behind a package's own imports": (
        rules.loaded_by_workers,
        {
            "autokd/evaluation/a.py": "import autokd.core.b",
            "autokd/core/__init__.py": "import autokd.searches",
            "autokd/core/b.py": "",
            "autokd/searches/__init__.py": "",
        },
        ["autokd.core imports autokd.searches"],
    ),
    "a face that joins database and optimisers": (
        rules.joins,
        {
            "autokd/cli/a.py": "import autokd.database",
            "autokd/cli/b.py": "from autokd.optimizers import f",
            "autokd/searches/a.py": "import autokd.database, autokd.optimizers",
            "autokd/database/__init__.py": "import autokd.optimizers",
            "autokd/optimizers/__init__.py": "",
        },
        ["autokd.cli"],
    ),
    "torch at a worker's import": (
        rules.torch_in_workers,
        {"workers/a.py": "import torch.nn", "workers/b.py": "def f():\n    import torch"},
        ["workers.a"],
    ),
    "two classes of one name": (
        rules.defined_twice,
        {
            "autokd/a.py": "class Part: ...\nclass _Own: ...",
            "workers/b.py": "class _Own: ...\nif True:\n    class Part: ...",
        },
        ["Part: autokd.a, workers.b"],
    ),
    "a class and a type of one name": (
        rules.defined_twice,
        {"autokd/a.py": "class Cell: ...", "workers/b.py": "__all__ = ['Cell', 'CELLS']\nCell = tuple[int]\nCELLS = 2"},
        ["Cell: autokd.a, workers.b"],
    ),
    "an extra that nothing imports": (
        rules.unused_extras,
        {"pyproject.toml": PROJECT, "autokd/a.py": "drivername = 'postgresql+psycopg'\ntext = 'fast_api'"},
        ["fast_api of web"],
    ),
    "an old module": (
        old_names,
        {"autokd/ladder.py": "", "autokd/order.py": ""},
        ["autokd.ladder: ladder", "autokd.order: order"],
    ),
    "old identifiers": (
        old_names,
        {
            "autokd/a.py": "class LessonPlan:\n    wishes: int\ndef f(signal, *, kept):\n    kept.told = 1",
            "autokd/b.py": "from autokd import a as lessons\nfor courses in a: answers = order = identity = 1",
            "autokd/config/schema.py": "signal = 1",
        },
        [
            *("autokd.a: LessonPlan", "autokd.a: signal", "autokd.a: told", "autokd.a: wishes"),
            *("autokd.b: answers", "autokd.b: courses", "autokd.b: lessons"),
        ],
    ),
    "old words in texts": (
        old_names,
        {"workers/a.py": "'''None when left\n    away.'''\nprint(f'{1} ladders', 'laddered')"},
        ["workers.a: ladders", "workers.a: left away"],
    ),
    "a column that nothing reads": (
        rules.unread_columns,
        {"autokd/database/models.py": MODELS, "autokd/a.py": "print(trial.seen)\ntrial.number = 1"},
        ["Trial.number"],
    ),
    "three parameters without an explanation": (
        missing_args_sections,
        {"autokd/a.py": UNEXPLAINED, "autokd/b.py": OVERRIDING},
        ["autokd.a: f", "autokd.a: A.other", "autokd.b: B.static"],
    ),
    "a fifth loose file": (
        rules.loose_files,
        {f"autokd/{name}.py": "" for name in "abcd"},
        ["__init__.py", "a.py", "b.py", "c.py", "d.py"],
    ),
    "a long file": (rules.long_files, {"autokd/a.py": "\n" * 501, "autokd/b.py": "\n" * 500}, ["autokd.a"]),
}


@pytest.mark.parametrize("rule", RULES)
def test_our_packages_keep(rule: str) -> None:
    assert RULES[rule](HOUSE) == []


@pytest.mark.parametrize("violation", PLANTED)
def test_found_is(violation: str, tmp_path: Path) -> None:
    rule, files, found = PLANTED[violation]
    _plant(tmp_path, files)
    assert rule(Tree(tmp_path)) == found


def test_every_rule_is_seen_to_find_something() -> None:
    assert {_name(rule) for rule in RULES.values()} == {_name(rule) for rule, _, _ in PLANTED.values()}


def _plant(root: Path, files: dict[str, str]) -> None:
    """Write files, and the empty `__init__.py` of every folder that has none among them."""
    folders = {*PACKAGES, *(file.rpartition("/")[0] for file in files if "/" in file)}
    empty = {f"{folder}/__init__.py": "" for folder in folders}
    for name, text in (empty | files).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def _name(rule: Callable[[Tree], list[str]]) -> str:
    return (rule.func if isinstance(rule, partial) else rule).__name__
