from pathlib import Path
from typing import Any

import pytest

from autokd.config.parsing import parse_config
from autokd.config.schema import SearchConfig
from autokd.config.toml import make_paths_absolute
from autokd.errors import InputError

ONE = {"name": "one", "factory": "m:one", "weights": "one.safetensors"}
TWO = {"name": "two", "onnx": "two.onnx"}
SMALL = {"name": "small", "params": 5_000}


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
        ([{"name": "one"}], "panel.assistants.0: needs one of factory, architecture, onnx, outputs, or params"),
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


def test_an_assistant_may_be_drawn_within_limits_and_trained_here() -> None:
    config = parsed(ONE, {"name": "two", "params": 5_000, "space": "nago", "ranges": {"top_nodes": 3}}, path="chain")
    assert config.panel is not None
    assert [each.is_trained for each in config.panel.assistants] == [False, True]
    assert config.panel.assistants[1].budget.limits == {"params": 5_000}
    assert [each.source for each in config.networks] == ["m:t", "m:one"]
    assert parse_config(config.to_dict()) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"params": 9}, "panel.assistants.0: params is for an assistant that is trained here, but 'm:one' is given"),
        (
            {"factory": None, "weights": None},
            "needs one of factory, .*, or params or macs to be drawn and trained here",
        ),
        (
            {"factory": None, "weights": None, "macs": 9, "ranges": {"a": 1}},
            "ranges are for a space, but there is none",
        ),
        ({"name": "teacher"}, "panel.assistants: 'teacher' is the teacher's name"),
    ],
)
def test_an_assistant_is_either_given_or_trained(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parsed({key: value for key, value in (ONE | change).items() if value is not None})


@pytest.mark.parametrize(
    ("assistant", "panel", "message"),
    [
        (ONE, {"path": "best"}, "panel: path is for assistants that are trained here, but all are given"),
        (ONE, {"distillation": {}}, "panel: distillation is for assistants that are trained here, but all are given"),
        (SMALL, {"path": "worst"}, "panel.path: input should be 'best', 'chain', 'dense' or 'search', but got 'worst'"),
        (SMALL, {"epochs": 0}, "panel.epochs: "),
        (SMALL, {"distillation": {"methods": ["kd", "dkd"]}}, "panel.distillation: methods are for a search, but"),
        (SMALL, {"distillation": {"ranges": {"weight": [0, 1]}}}, r"ranges.weight must be one value, but got \[0, 1\]"),
    ],
)
def test_how_assistants_are_trained_is_checked(assistant: Any, panel: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parsed(assistant, **panel)


def test_a_searched_path_chooses_among_all_subsets() -> None:
    panel = parsed({"name": "a", "params": 9}, {"name": "b", "params": 8}, path="search").panel
    assert panel is not None
    assert panel.subsets == {"a": ("a",), "b": ("b",), "a+b": ("a", "b")}
    for other in (parsed(SMALL, path="search"), parsed(SMALL, path="best")):
        assert other.panel is not None
        assert other.panel.subsets == {}
    with pytest.raises(InputError, match='path = "search" is for 3 assistants at most: 4 have 15 subsets'):
        parsed(*({"name": f"a{k}", "params": 9} for k in range(4)), path="search")
