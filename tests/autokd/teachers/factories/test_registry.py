import sys
from pathlib import Path
from typing import Any

import pytest

from autokd.config.teacher import TeacherConfig
from autokd.errors import InputError
from autokd.teachers.factories.base import Made
from autokd.teachers.factories.registry import COLLECTIONS, check_factory, make_network, own_settings

OWN = {"resize": (8, 8), "mean": (0.5,), "deviation": (0.2,), "output": "logits"}


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ({}, set(OWN)),
        ({"resize": 9}, {"mean", "deviation", "output"}),
        ({"mean": [0.1], "deviation": [0.1]}, {"resize", "output"}),
        ({"preprocess": "my_module:prepare"}, {"resize", "output"}),
    ],
)
def test_own_settings_are_those_that_the_user_leaves_open(settings: dict[str, Any], keys: set[str]) -> None:
    config = TeacherConfig.model_validate({"factory": "timm:resnet18", **settings})
    assert own_settings(config, Made(None, OWN)) == {key: OWN[key] for key in keys}


@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_collection_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("autokd.teachers.factories.base.mend_torchvision", lambda: None)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"^teacher.factory needs {name}: pip install 'autokd\[hubs\]'\.$"):
        check_factory(f"{name}:model", TeacherConfig(factory=f"{name}:model"))


def test_a_function_gets_its_arguments(module: Path) -> None:
    module.write_text("def sized(size, flip=False):\n    return lambda images: (size, flip)\n")
    arguments = {"size": [3, 4], "flip": True}
    made = make_network(TeacherConfig(factory="my_teachers_for_tests:sized", arguments=arguments))
    assert made.network(None) == ([3, 4], True)
    with pytest.raises(InputError, match=r"sized\(width=3\) fails: TypeError: .*unexpected keyword argument 'width'"):
        make_network(TeacherConfig(factory="my_teachers_for_tests:sized", arguments={"width": 3}))


def test_a_model_of_torch_hub_is_made_by_its_own_function(tmp_path: Path) -> None:
    (tmp_path / "hubconf.py").write_text("from torch import nn\n\ndef tiny(n):\n    return nn.Linear(2, n)\n")
    arguments = {"repo_or_dir": str(tmp_path), "model": "tiny", "source": "local", "n": 5}
    assert make_network(TeacherConfig(factory="torch.hub:load", arguments=arguments)).network.out_features == 5
