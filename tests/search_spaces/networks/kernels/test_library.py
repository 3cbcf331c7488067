import multiprocessing
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from search_spaces.networks.kernels import library
from search_spaces.networks.kernels.library import SWITCH, Kernels, load

fresh = load.__wrapped__
NEEDS_COMPILER = pytest.mark.skipif(not any(map(shutil.which, library.COMPILERS)), reason="no C compiler")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(SWITCH, raising=False)
    return tmp_path / "cache" / "autokd"


@NEEDS_COMPILER
@pytest.mark.slow  # compiles once
def test_it_is_compiled_once_and_then_only_loaded(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fresh().library is not None
    (file,) = cache.iterdir()
    monkeypatch.setattr(library, "_compile", lambda compiler, file: pytest.fail("compiled again"))
    assert str(file) in fresh().detail


@NEEDS_COMPILER
@pytest.mark.slow  # compiles once
def test_other_flags_give_another_file(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = next(filter(None, map(shutil.which, library.COMPILERS)))
    before = library._file(compiler)
    assert library._file(compiler) == before
    monkeypatch.setattr(library, "FLAGS", (*library.FLAGS, "-O1"))
    assert library._file(compiler) != before


def _load(barrier: Any, found: Any, cache: str) -> None:
    os.environ["XDG_CACHE_HOME"] = cache
    barrier.wait()
    found.put(fresh().library is not None)


@NEEDS_COMPILER
@pytest.mark.slow  # two fresh interpreters load torch and compile
def test_two_processes_that_start_at_once_both_get_a_whole_file(cache: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, found = context.Barrier(2), context.Queue()
    both = [context.Process(target=_load, args=(barrier, found, str(cache.parent))) for _ in range(2)]
    for process in both:
        process.start()
    assert [found.get(timeout=60) for _ in both] == [True, True]
    for process in both:
        process.join()
    assert [file.suffix for file in cache.iterdir()] == [".so"]


def test_without_a_compiler_torch_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert fresh() == Kernels(None, "torch's own operations: no C compiler (cc, gcc, clang)")


def test_the_environment_variable_turns_the_kernels_off(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setenv(SWITCH, "off")
    assert fresh() == Kernels(None, f"torch's own operations: turned off by {SWITCH}")
    assert not cache.exists()


@NEEDS_COMPILER
def test_a_failed_compilation_is_reported_and_leaves_no_file(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.c"
    broken.write_text("this is no C")
    monkeypatch.setattr(library, "SOURCES", [broken])
    found = fresh()
    assert found.library is None
    assert "broken.c" in found.detail
    assert list(cache.iterdir()) == []


@NEEDS_COMPILER
def test_a_cache_folder_that_is_not_writable_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    assert fresh().library is None
