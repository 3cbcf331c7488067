from pathlib import Path
from typing import Any

import pytest

from autokd.config.parsing import parse_config
from autokd.config.schema import SearchConfig
from autokd.config.toml import make_paths_absolute
from autokd.errors import InputError

ONE = {"name": "one", "factory": "m:one", "weights": "one.safetensors"}
TWO = {"name": "two", "onnx": "two.onnx"}


def parsed(*assistants: Any, **panel: Any) -> SearchConfig:
    base = {"name": "x", "data": {"source": "digits"}, "teacher": {"factory": "m:t"}, "budget": {"params": 1000}}
    return parse_config(base | ({"panel": panel | {"assistants": list(assistants)}} if assistants else {}))


def test_an_assistant_is_given_as_a_teacher_is() -> None:
    config = parsed(ONE | {"resize": 16}, TWO)
    assert [each.source for each in config.networks] == ["m:t", "m:one", "two.onnx"]
    assert config.networks[1].resize == (16, 16)
    assert parse_config(config.to_dict()) == config


def test_the_panel_decides_what_a_search_is() -> None:
    assert len({parsed().digest, parsed(ONE).digest, parsed(ONE, TWO).digest}) == 3
    assert "panel" not in parsed().to_dict()


def test_files_of_assistants_are_relative_to_the_file(tmp_path: Path) -> None:
    values = {"panel": {"assistants": [dict(ONE), {"name": "a", "architecture": "a.json"}, 5]}}
    make_paths_absolute(values, tmp_path)
    first, second, _ = values["panel"]["assistants"]
    assert first["weights"] == str(tmp_path / "one.safetensors")
    assert second["architecture"] == str(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("assistants", "message"),
    [
        ([ONE, TWO | {"name": "one"}], "panel.assistants: each needs a name of its own, but two are called 'one'"),
        ([{"name": "one"}], r"panel.assistants.0: one of factory, architecture, onnx, outputs is missing"),
        ([ONE | {"weigts": "w"}], "unknown key 'panel.assistants.0.weigts'; the nearest known is 'weights'"),
        ([ONE | {"floor": 0.5}], "unknown key 'panel.assistants.0.floor'; known are factory"),
        ([ONE, TWO | {"factory": "m:two"}], "panel.assistants.1: only one of factory, architecture, onnx and outputs"),
        ([ONE | {"name": ""}], "panel.assistants.0.name: "),
        ([{**ONE, "name": f"a{k}"} for k in range(7)], "panel.assistants: list should have at most 6 items"),
    ],
)
def test_a_panel_that_cannot_be_is_refused(assistants: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parsed(*assistants)
