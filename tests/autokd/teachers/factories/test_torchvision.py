from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from autokd.config.teacher import TeacherConfig
from autokd.data.dataset import Dataset
from autokd.errors import InputError
from autokd.teachers.factories.torchvision import Torchvision
from autokd.teachers.registry import check_made_from, load_teacher

CPU = torch.device("cpu")
NAME, FACTORY = "shufflenet_v2_x0_5", "torchvision:shufflenet_v2_x0_5"


def test_a_model_gets_what_its_published_weights_want(torchvision: Any, tmp_path: Path, make_dataset) -> None:
    dataset: Dataset = make_dataset(channels=3)
    network = torchvision.models.get_model(NAME, num_classes=3)
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    config = TeacherConfig(factory=FACTORY, arguments={"num_classes": 3}, weights=str(tmp_path / "w.safetensors"))
    lines: list[str] = []
    assert load_teacher(config, CPU, dataset, lines.append).on_split(dataset, "test", CPU).shape == (24, 3)
    assert lines == [
        "teacher: resize = [224, 224], mean = [0.485, 0.456, 0.406], deviation = [0.229, 0.224, 0.225], by the "
        f"configuration of {FACTORY}"
    ]


def test_it_needs_weights_and_says_where_they_are(torchvision: Any) -> None:
    with pytest.raises(
        InputError, match=r"weights is missing for .*: set it to a file: https://.*\.pth is torchvision"
    ):
        check_made_from(TeacherConfig(factory=FACTORY))


def test_other_names_are_refused(torchvision: Any) -> None:
    with pytest.raises(InputError, match=r"'torchvision:resnet81': .* the nearest known is 'resnet18'\.$"):
        Torchvision().check("resnet81", TeacherConfig(factory="torchvision:resnet81"))
