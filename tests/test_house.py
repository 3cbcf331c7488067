"""The rules of the house: who may import whom, and what importing costs."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import autokd

ROOT = Path(autokd.__file__).parent.parent
HOUSES = ("autokd", "search_spaces", "workers")
FILES = sorted(file for house in HOUSES for file in (ROOT / house).rglob("*.py"))
ROOMS = (
    "errors",
    "core",
    "config",
    "data",
    "distillation",
    "training",
    "teachers",
    "optimizers",
    "database",
    "evaluation",
    "export",
    "searches",
    "analysis",
    "recipes",
    "testing",
    "cli",
    "__init__",
    "__main__",
)
MOST_LINES = 500


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path, top_only: bool = False) -> Iterator[str]:
    """Full names of the modules that a file imports, wherever it does so, or only when it is itself imported."""
    tree = ast.parse(file.read_text())
    nodes = _executed_at_import(tree) if top_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            yield str(node.module)


def _executed_at_import(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from _executed_at_import(child)


def room(name: str) -> str:
    """The package or module of autokd that a module belongs to: "optimizers" of "autokd.optimizers.space.union"."""
    return name.split(".")[1] if "." in name else ""


def files_of(house: str) -> list[Path]:
    return [file for file in FILES if file.is_relative_to(ROOT / house)]


@pytest.mark.parametrize("house", ["search_spaces", "workers"])
def test_the_two_other_houses_import_nothing_of_ours(house: str):
    foreign = {
        (str(file.relative_to(ROOT)), name)
        for file in files_of(house)
        for name in imports(file)
        if name.split(".")[0] in HOUSES and name.split(".")[0] != house
    }
    assert foreign == set()


def test_workers_load_no_torch_when_they_are_imported():
    loading = [file.name for file in files_of("workers") for name in imports(file, True) if name.startswith("torch")]
    assert loading == []


def test_an_arrow_runs_only_to_a_room_listed_before():
    upward = {
        (str(file.relative_to(ROOT)), name)
        for file in files_of("autokd")
        for name in imports(file)
        if name.startswith("autokd.") and ROOMS.index(room(name)) > ROOMS.index(room(module_name(file)) or "__init__")
    }
    assert upward == set()


def test_only_the_faces_know_the_faces():
    for file in files_of("autokd"):
        if room(module_name(file)) not in ("cli", "service", "__main__"):
            assert not {"cli", "service"} & {room(name) for name in imports(file) if name.startswith("autokd.")}, file


def test_imports_go_round_in_no_circle():
    """Depth first over what each module of ours loads when it is imported."""
    names = {module_name(file) for file in FILES}
    edges = {module_name(file): {name for name in imports(file, True) if name in names} for file in FILES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for following in edges[name]:
                visit(following, (*path, name))
            done.add(name)

    for name in names:
        visit(name, ())


def test_no_file_outgrows_its_subject():
    assert {file.name: n for file in FILES if (n := len(file.read_text().splitlines())) > MOST_LINES} == {}


@pytest.mark.parametrize("name", [module_name(file) for file in FILES if "migrations" not in file.parts])
def test_every_public_name_is_there(name: str):
    module = import_module(name)
    for public in getattr(module, "__all__", ()):
        assert getattr(module, public) is not None


def test_the_public_functions_are_no_modules_however_often_they_are_asked_for():
    from autokd import begin, find, search

    for _ in range(2):
        assert (autokd.begin, autokd.find, autokd.search) == (begin, find, search)
        assert callable(autokd.search)
        import_module("autokd.searches.api")


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'autokd' has no attribute 'serach'"):
        _ = autokd.serach


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter in `folder`, whose modules come first."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_importing_autokd_loads_nothing_heavy(tmp_path: Path):
    code = (
        "import sys, autokd; print([name for name in ('torch', 'optuna', 'numpy', 'pydantic') if name in sys.modules])"
    )
    assert run(code, tmp_path).stdout.strip() == "[]"


@pytest.mark.parametrize("form", ["workers.py", "workers/__init__.py", "search_spaces/nothing.txt"])
def test_a_package_that_shadows_ours_is_named(tmp_path: Path, form: str):
    file = tmp_path / form
    file.parent.mkdir(exist_ok=True)
    file.write_text("")
    done = run("import autokd", tmp_path)
    if form.endswith(".txt"):  # a folder without __init__ gives way to a real package
        assert done.returncode == 0
    else:
        assert f"ImportError: autokd needs its own package 'workers', but {file} shadows it" in done.stderr
