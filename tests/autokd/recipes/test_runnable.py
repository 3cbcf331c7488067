import pytest

from autokd.config.schema import DataConfig
from autokd.errors import InputError
from autokd.recipes import runnable


def test_a_recipe_whose_data_are_available_is_printed() -> None:
    assert runnable.runnable("digits") == "digits"


def test_a_recipe_without_data_is_replaced_by_digits_with_one_line_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(config: DataConfig) -> None:
        raise InputError(f"no {config.source} here.")

    monkeypatch.setattr(runnable, "load_data", missing)
    assert runnable.runnable("fashion-mnist") == "digits"
    assert capsys.readouterr().err == "no fashion-mnist here. Running the digits recipe instead.\n"
