from pathlib import Path

import pytest

from autokd.core.cache_folder import cache_folder


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_value_it_is_in_the_home(value: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert cache_folder("x") == tmp_path / ".cache" / "autokd" / "x"


def test_the_variable_says_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("x") == tmp_path / "autokd" / "x"
