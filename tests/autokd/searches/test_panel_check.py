from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import small_teachers
import torch
from torch import nn

from autokd.config.parsing import parse_config
from autokd.config.schema import SearchConfig
from autokd.data.registry import load_data
from autokd.errors import InputError
from autokd.evaluation.precompute import precompute_outputs
from autokd.searches import api
from autokd.searches.choices import Choices
from autokd.searches.panel_check import check_panel_config, find_panel
from autokd.searches.panel_facts import PanelFacts, panel_json
from autokd.searches.preflight import check_config, check_storage, find_facts
from autokd.searches.problem import Problem
from autokd.searches.reporter import SILENT
from autokd.teachers.outputs.key import OutputsKey
from autokd.teachers.process_cache import forget_files
from autokd.teachers.registry import load_teacher

CPU = torch.device("cpu")
PIXELS, POOLS = ({"name": name, "factory": f"small_teachers:{name}"} for name in ("pixels", "pools"))
DIGITS = {"name": "digits", "factory": "autokd.recipes.teachers:digits", "weights": "autokd.recipes:digits.safetensors"}
MIDDLE, SMALL = {"name": "middle", "params": 6_000}, {"name": "small", "params": 3_000}
MODULE = """
import torch
def eleven(): return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 11))
def ten():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    torch.nn.init.zeros_(network[1].weight)
    torch.nn.init.zeros_(network[1].bias)
    return network
"""


def config(*assistants: dict[str, Any], **sections: Any) -> SearchConfig:
    values: dict[str, Any] = {
        "name": "first",
        "data": {"source": "digits"},
        "teacher": {key: value for key, value in DIGITS.items() if key != "name"},
        "budget": {"params": 4_000},
        "distillation": {"method": "takd+kd"},
        "panel": {"assistants": assistants},
    }
    return parse_config(values | sections)


def found(config: SearchConfig, reporter: Any = None) -> PanelFacts | None:
    teacher = load_teacher(config.teacher, CPU)
    return find_panel(config, teacher, load_data(config.data), CPU, None, "it has none", reporter or mock.Mock())


def test_each_assistant_is_measured_beside_the_teacher() -> None:
    panel = found(config(PIXELS, POOLS))
    assert panel is not None
    assert [(each.name, each.params) for each in panel.assistants] == [("pixels", 650), ("pools", 170)]
    assert [each.accuracy > 0.7 for each in panel.assistants] == [True, True]
    assert [0.7 < each.agreement < 1 for each in panel.assistants] == [True, True]
    assert panel.weights == {}


def test_teachers_are_weighed_where_a_method_wants_that() -> None:
    panel = found(config(PIXELS, distillation={"methods": ["kd", "early-stopping+ensemble+kd"]}))
    assert panel is not None
    assert [len(weights) for weights in panel.weights.values()] == [2, 2]
    assert panel.accuracy is not None
    recorded = panel_json(panel)
    assert recorded is not None
    assert PanelFacts.from_dict(recorded) == panel


def test_a_panel_from_which_nothing_learns_is_left_out_and_that_is_said() -> None:
    reporter = mock.Mock()
    assert found(config(PIXELS, distillation={"method": "kd"}), reporter) is None
    reporter.notify.assert_called_once_with("panel: no method learns from assistants, so they are left out")


def test_a_method_that_learns_from_assistants_wants_some() -> None:
    without = config(panel=None)
    with pytest.raises(InputError, match=r"method 'takd\+kd' learns from assistants: describe some in \[\[panel"):
        check_panel_config(Choices(without))


@pytest.mark.parametrize(
    ("assistants", "message"),
    [
        ([POOLS, PIXELS], "must fall in size, from the teacher on, but pixels has 650 parameters and pools has 170"),
        ([DIGITS], "must fall in size, .* but digits has 77,754 parameters and the teacher has 77,754"),
        ([{"name": "eleven"}], "assistant 'eleven', as a teacher: the teacher gives .11,. outputs .* has 10 classes"),
        ([{"name": "ten"}], r"assistant 'ten', as a teacher: the teacher's .* hardly .* what inputs it wants\.$"),
        ([{"name": "gone"}], "assistant 'gone', as a teacher: .*has no 'gone'"),
    ],
)
def test_an_assistant_that_cannot_teach_is_refused(
    assistants: list[dict[str, str]], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad_assistants.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=message):
        found(config(*({"factory": f"bad_assistants:{each['name']}"} | each for each in assistants)))


@pytest.mark.parametrize(
    ("assistants", "message"),
    [
        ([SMALL, MIDDLE], "must fall in size, from the teacher on, but middle has"),
        ([{"name": "one", "params": 5}], "assistant 'one' cannot be drawn: "),
        ([{"name": "one", "params": 5_000, "space": "nagoo"}], "assistant 'one' cannot be drawn: .*'nagoo'"),
        ([MIDDLE | {"space": "nago", "ranges": {"depth": 3}}], "assistant 'middle' cannot be drawn: .*'depth'"),
        ([MIDDLE | {"space": "like-teacher"}], r"drawn: space 'like-teacher' copies the teacher, but it has none\.$"),
    ],
)
def test_an_assistant_that_cannot_be_drawn_is_refused_before_anything_is_trained(
    assistants: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        found(config(*assistants))


@pytest.mark.parametrize(
    ("distillation", "message"),
    [
        ({"method": "takd+kd"}, "panel.distillation: assistants learn from one network, or from all before with"),
        ({"method": "kd", "ranges": {"beta": 1}}, "panel.distillation: distillation method 'kd' has no .*'beta'"),
        ({"method": "kd>dkd"}, "panel.distillation: with panel.path = .* 'kd>dkd' are two in turn: choose one of them"),
        ({"method": "fitnet"}, "a loss of logits, but 'fitnet' does not: write kd, "),
        ({"method": "early-stopping+kd"}, "a loss of logits, but 'early-stopping.kd' does not: write kd, "),
    ],
)
def test_how_assistants_learn_is_checked_first(distillation: dict[str, Any], message: str) -> None:
    panel = {"assistants": [MIDDLE, SMALL], "path": "dense", "distillation": distillation}
    with pytest.raises(InputError, match=message):
        check_panel_config(Choices(config(panel=panel)))


def test_stored_outputs_of_an_assistant_are_none_of_mixed_samples() -> None:
    mixed = config({"name": "stored", "outputs": "outputs.npz"}, training={"augmentation": {"mixup": 0.2}})
    with pytest.raises(InputError, match=r"teacher.outputs are of samples as they are, but training.augmentation mix"):
        check_config(mixed)


def test_a_file_of_an_assistant_that_is_not_there_is_said_to_be_its_own() -> None:
    with pytest.raises(InputError, match=r"^assistant 'digits', as a teacher: teacher.weights: there is no file"):
        check_config(config(DIGITS | {"weights": "gone.safetensors"}))


class Louder(nn.Sequential):
    """A network of the same weights as another one, but of other outputs."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 10 * super().forward(images)


def test_stored_views_of_an_assistant_whose_code_changed_since_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = {"name": "nago", "ranges": {"top_nodes": 3, "middle_nodes": 1, "bottom_nodes": 3}}
    searched = config(PIXELS, space=space, training={"rungs": [1], "views": 1, "precision": "float32"})
    problem = Problem(searched, find_facts(searched), tmp_path)
    precompute_outputs(problem.context, OutputsKey(1, 0))
    check_storage(problem)
    network = small_teachers.pixels()
    monkeypatch.setattr(small_teachers, "pixels", lambda: Louder(*network.children()))
    forget_files()
    with pytest.raises(InputError, match=r"outputs of assistant 'pixels' in .* not its code\. Bring that back"):
        check_storage(problem)


@pytest.mark.slow  # trains a student
def test_a_search_whose_teacher_is_an_object_learns_from_assistants(tmp_path: Path) -> None:
    teacher = load_teacher(config(PIXELS).teacher, CPU).network
    few = config(
        PIXELS,
        POOLS,
        teacher={},
        trials=1,
        data={"source": "digits", "subset": 256},
        space={"name": "nago", "ranges": {"top_nodes": 3, "middle_nodes": 1, "bottom_nodes": 3}},
        training={"rungs": [1], "views": 1, "precision": "float32"},
        optimizer={"name": "random"},
        workers={"engine": "inline", "count": 1},
    )
    result = api.begin(few, tmp_path, teacher, SILENT).resume()
    assert result.problem.panel is not None
    assert [each.name for each in result.problem.panel.assistants] == ["pixels", "pools"]
    assert result.progress.complete == 1
