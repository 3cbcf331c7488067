import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autokd.core.references import call, is_reference, reference_to, resolve
from autokd.core.spelling import nearest_name
from autokd.errors import InputError


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A user's module in the current folder, which is not on the path."""
    (tmp_path / "my_models_for_tests.py").write_text(
        "def teacher():\n    return 'a teacher'\n\n\ndef broken():\n    raise KeyError('weights')\n\n\n"
        "def exits():\n    raise SystemExit(3)\n\n\ndef wordy():\n    raise RuntimeError('no memory.\\nFor more ...')\n"
    )
    (tmp_path / "my_broken_module.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "my_script.py").write_text("import sys\n\nsys.exit('usage: my_script FILE\\nFILE is missing')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield "my_models_for_tests"
    for name in ("my_models_for_tests", "my_broken_module", "my_script"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["module:name", "package.module:name", "_a:_b"])
def test_references_are_recognised(name: str):
    assert is_reference(name)


@pytest.mark.parametrize("name", ["module", "module:", ":name", "a b:c", "C:\\data", "a/b:c", "a:b.c", "a..b:c"])
def test_other_names_are_no_references(name: str):
    assert not is_reference(name)


def test_resolve_finds_modules_of_the_current_folder(module: str):
    assert resolve(f"{module}:teacher", "teacher.factory")() == "a teacher"


def test_resolve_names_the_nearest_attribute(module: str):
    with pytest.raises(InputError, match=r"^teacher.factory: '\w+' has no 'techer'; the nearest known is 'teacher'\.$"):
        resolve(f"{module}:techer", "teacher.factory")


def test_resolve_says_why_a_module_cannot_be_imported(module: str):
    with pytest.raises(InputError, match=r"cannot import 'my_broken_module': ModuleNotFoundError: .*nothing_of_that"):
        resolve("my_broken_module:teacher", "teacher.factory")


def test_a_script_that_exits_or_says_much_is_one_line(module: str):
    wanted = r"^data\.source: cannot import 'my_script': SystemExit: usage: my_script FILE\.$"
    with pytest.raises(InputError, match=wanted):
        resolve("my_script:data", "data.source")


def test_resolve_rejects_what_is_no_reference():
    with pytest.raises(InputError, match=r"data.source must be `module:name`, but got 'nonsense'"):
        resolve("nonsense", "data.source")


def test_call_returns_what_the_function_returns(module: str):
    assert call(f"{module}:teacher", "teacher.factory") == "a teacher"


def test_call_says_how_the_function_failed(module: str):
    with pytest.raises(InputError, match=r"^teacher.factory: \w+:broken\(\) fails: KeyError: 'weights'\.$"):
        call(f"{module}:broken", "teacher.factory")


@pytest.mark.parametrize(("function", "error"), [("exits", "SystemExit: 3"), ("wordy", "RuntimeError: no memory")])
def test_a_function_that_exits_or_says_much_is_one_line(module: str, function: str, error: str):
    with pytest.raises(InputError, match=rf"^teacher\.factory: \w+:{function}\(\) fails: {error}\.$"):
        call(f"{module}:{function}", "teacher.factory")


def test_nearest_is_silent_about_names_that_are_not_near():
    assert nearest_name("digit", ["digits", "fashion-mnist"]) == "; the nearest known is 'digits'"
    assert nearest_name("zebra", ["digits", "fashion-mnist"]) == ""


def test_a_class_is_named_by_its_module() -> None:
    assert resolve(reference_to(Path), "space") is Path


def test_a_class_inside_a_function_has_no_reference() -> None:
    class Local:
        pass

    with pytest.raises(InputError, match=r"^.*Local must be defined at the top level of its module\.$"):
        reference_to(Local)
