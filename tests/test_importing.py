"""Importing our packages: every public name is there, nothing heavy is loaded, and a shadowed package is named."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from tree import Tree

import autokd

ROOT = Path(autokd.__file__).parent.parent


def missing_names(module: ModuleType) -> list[str]:
    """Names in a module's `__all__` that it lacks."""
    return [name for name in getattr(module, "__all__", ()) if not hasattr(module, name)]


@pytest.mark.parametrize("name", Tree(ROOT).modules)
def test_every_public_name_is_there(name: str) -> None:
    assert missing_names(import_module(name)) == []


def test_a_public_name_that_is_missing_is_found() -> None:
    module = ModuleType("module")
    module.__all__ = ["__name__", "gone"]  # type: ignore[attr-defined]
    assert missing_names(module) == ["gone"]


def test_the_public_functions_are_no_modules_however_often_they_are_asked_for() -> None:
    from autokd import begin, find, search

    for _ in range(2):
        assert (autokd.begin, autokd.find, autokd.search) == (begin, find, search)
        assert callable(autokd.search)
        import_module("autokd.searches.api")


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'autokd' has no attribute 'serach'"):
        _ = autokd.serach


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter in `folder`, whose modules come first."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def heavy(code: str, folder: Path) -> str:
    """What takes long to load and is loaded after some code, as a list."""
    names = ("torch", "optuna", "sqlalchemy", "numpy", "scipy", "pydantic")
    show = f"print([name for name in {names} if name in sys.modules])"
    return run(f"import sys\ntry:\n    {code}\nfinally:\n    {show}", folder).stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        ("import autokd", "[]"),
        ("sys.argv[1:] = ['--help']; from autokd.cli import main; main()", "[]"),
        ("import autokd.core.disk, numpy", "['numpy']"),
        ("from autokd import SearchConfig", "['pydantic']"),
    ],
    ids=["import", "help", "planted", "first use"],
)
def test_importing_autokd_and_its_help_load_nothing_heavy(code: str, loaded: str, tmp_path: Path) -> None:
    assert heavy(code, tmp_path) == loaded


@pytest.mark.parametrize("form", ["workers.py", "workers/__init__.py", "search_spaces/nothing.txt"])
def test_a_package_that_shadows_ours_is_named(tmp_path: Path, form: str) -> None:
    file = tmp_path / form
    file.parent.mkdir(exist_ok=True)
    file.write_text("")
    done = run("import autokd", tmp_path)
    if form.endswith(".txt"):  # a folder without __init__ gives way to a real package
        assert done.returncode == 0
    else:
        assert f"ImportError: autokd needs its own package 'workers', but {file} shadows it" in done.stderr
