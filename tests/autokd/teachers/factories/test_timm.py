from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from autokd.config.teacher import TeacherConfig
from autokd.data.dataset import Dataset
from autokd.data.stream import normalise
from autokd.errors import InputError
from autokd.teachers.factories.timm import Timm
from autokd.teachers.registry import check_made_from, load_teacher
from search_spaces.architecture.cost import cost
from search_spaces.networks.traced import trace

CPU = torch.device("cpu")


def test_a_model_in_a_folder_gets_what_its_own_configuration_says(
    timm: Any, timm_folder: Path, make_dataset, images: Tensor
) -> None:
    dataset: Dataset = make_dataset(channels=3)
    lines: list[str] = []
    teacher = load_teacher(TeacherConfig(factory=f"timm:{timm_folder}"), CPU, dataset, lines.append)
    network = timm.create_model(f"local-dir:{timm_folder}", pretrained=True).eval()
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]))
    resized = interpolate(images / 255, (32, 32), mode="bilinear", antialias=True)
    expected = network((resized - mean) / deviation)
    found = teacher(normalise(images.movedim(1, -1), dataset.normalisation))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert lines == [
        "teacher: resize = [32, 32], mean = [0.5, 0.4, 0.3], deviation = [0.2, 0.3, 0.4], by the configuration of "
        f"timm:{timm_folder}"
    ]


def test_grey_images_are_repeated_for_a_model_of_colour_images(timm_folder: Path, dataset: Dataset) -> None:
    teacher = load_teacher(TeacherConfig(factory=f"timm:{timm_folder}", channels=(0, 0, 0)), CPU, dataset)
    assert teacher.on_split(dataset, "validation", CPU).shape == (21, 3)
    with pytest.raises(InputError, match=r"teacher.channels = \[0, 0, 0\] repeats a grey channel"):
        load_teacher(TeacherConfig(factory=f"timm:{timm_folder}"), CPU, dataset)


def test_arguments_are_passed_on(timm: Any) -> None:
    config = TeacherConfig(factory="timm:test_resnet", arguments={"num_classes": 5, "in_chans": 1})
    made = Timm().make("test_resnet", config)
    assert made.network(torch.zeros(2, 1, 32, 32)).shape == (2, 5)
    assert (made.settings["mean"], made.settings["deviation"]) == ((0.5,), (0.5,))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnet81", {}, r"'timm:resnet81': timm has no such model; the nearest known is 'resnet\d+'\.$"),
        ("test_resnet", {"depth": 3}, "'timm:test_resnet' fails: TypeError: .*depth"),
    ],
)
def test_what_timm_does_not_know_is_named(timm: Any, name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Timm().make(name, TeacherConfig(factory=f"timm:{name}", arguments=arguments))


def test_a_model_by_name_needs_weights_and_says_where_they_are(timm: Any) -> None:
    expected = (
        "teacher.weights is missing for 'timm:test_resnet.r160_in1k': set it to "
        '"hf:timm/test_resnet.r160_in1k" with download = true, or a file.'
    )
    with pytest.raises(InputError) as raised:
        check_made_from(TeacherConfig(factory="timm:test_resnet.r160_in1k"))
    assert str(raised.value) == expected


def test_a_model_by_name_takes_weights_of_a_file(timm_folder: Path, make_dataset) -> None:
    file, arguments = str(timm_folder / "model.safetensors"), {"num_classes": 3}
    named = TeacherConfig(factory="timm:test_resnet", arguments=arguments, weights=file)
    teachers = [load_teacher(config, CPU, make_dataset(channels=3)) for config in (named, named)]
    saved = load_teacher(TeacherConfig(factory=f"timm:{timm_folder}"), CPU, make_dataset(channels=3))
    assert teachers[0].digest == teachers[1].digest != saved.digest
    for key, tensor in saved.state_dict().items():
        assert torch.equal(teachers[0].state_dict()[key], tensor)


@pytest.mark.parametrize("name", ["mobilenetv2_050", "mnasnet_050", "efficientnet_lite0", "tf_efficientnet_lite0"])
def test_mobile_networks_without_gates_can_be_copied(timm: Any, name: str) -> None:
    network = timm.create_model(name, num_classes=5)
    copy = trace(network, torch.rand(2, 3, 64, 64)).architecture  # which compares what both compute
    assert cost(copy).params == sum(weights.numel() for weights in network.parameters())
