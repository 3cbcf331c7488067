import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from autokd.config.teacher import TeacherConfig
from autokd.data.stream import normalise
from autokd.errors import InputError
from autokd.teachers.factories.transformers import Transformers
from autokd.teachers.registry import load_teacher

CPU = torch.device("cpu")
SIZE = {"height": 6, "width": 6}  # that of the images, as transformers resizes without antialiasing


def config(folder: Path, **settings: Any) -> TeacherConfig:
    return TeacherConfig(factory=f"transformers:{folder}", **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"size": SIZE, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]},
        {"size": SIZE, "do_rescale": False},
        {"size": SIZE, "rescale_factor": 1 / 127.5},
        {"size": SIZE, "do_normalize": False},
        {"do_resize": False},
        {"processor": "MobileViTImageProcessor", "do_resize": False, "do_center_crop": False},
        {"processor": "EfficientNetImageProcessor", "size": SIZE, "image_std": [0.2, 0.3, 0.4]},
        {"processor": "EfficientNetImageProcessor", "size": SIZE, "include_top": False, "rescale_offset": True},
        {"processor": "EfficientNetImageProcessor", "size": SIZE, "include_top": False, "do_normalize": False},
    ],
    ids=lambda settings: ", ".join(list(settings)[-2:]),
)
def test_a_classifier_gets_what_its_image_processor_makes(
    transformers: Any, classifier: Callable[..., Path], make_dataset, images: Tensor, settings: dict[str, Any]
) -> None:
    folder, dataset = classifier(**settings), make_dataset(channels=3)
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    network = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    expected = network(**processor(images, return_tensors="pt")).logits
    found = load_teacher(config(folder), CPU, dataset)(normalise(images.movedim(1, -1), dataset.normalisation))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"size": {"height": 9, "width": 8}}, (9, 8)),
        ({"size": {"shortest_edge": 9}}, (9, 9)),
        ({"size": {"shortest_edge": 9}, "do_center_crop": True, "crop_size": SIZE}, (6, 6)),
    ],
)
def test_images_are_resized_to_what_the_network_gets(
    classifier: Callable[..., Path], settings: dict[str, Any], size: tuple[int, int]
) -> None:
    folder = classifier(**settings)
    assert Transformers().make(str(folder), config(folder)).settings["resize"] == size


def test_a_processor_that_does_more_than_the_settings_can_say_is_refused(classifier: Callable[..., Path]) -> None:
    unlike = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4], "do_normalize": True}
    folder = classifier(processor="MobileViTImageProcessor", do_resize=False, do_center_crop=False, **unlike)
    with pytest.raises(InputError, match=r"does more to images than teacher\.channels, mean and deviation can say"):
        Transformers().make(str(folder), config(folder))


def test_settings_of_the_user_take_precedence(classifier: Callable[..., Path], make_dataset) -> None:
    folder, lines = classifier(size=SIZE), list[str]()
    set_by_user = config(folder, mean=(0.1,) * 3, deviation=(0.2,) * 3, resize=(7, 7))
    teacher = load_teacher(set_by_user, CPU, make_dataset(channels=3), lines.append)
    assert teacher.prepared(torch.zeros(1, 3, 6, 6)).shape == (1, 3, 7, 7)
    assert lines == [f'teacher: output = "logits", by the configuration of transformers:{folder}']


def test_without_an_image_processor_the_user_is_asked(classifier: Callable[..., Path]) -> None:
    folder = classifier()
    with pytest.raises(
        InputError, match=r"has no readable preprocessor_config.json: set teacher.mean and teacher.deviation"
    ):
        Transformers().make(str(folder), config(folder))
    made = Transformers().make(str(folder), config(folder, mean=(0.1,) * 3, deviation=(0.2,) * 3))
    assert made.settings == {"output": "logits"}


def test_a_network_without_a_trained_head_is_refused(transformers: Any, classifier: Callable[..., Path]) -> None:
    folder = classifier(size=SIZE)
    network = transformers.AutoModelForImageClassification.from_pretrained(folder)
    network.resnet.save_pretrained(folder)
    with pytest.raises(InputError, match=r"its file of weights lacks classifier.1.bias: it is no trained image class"):
        Transformers().make(str(folder), config(folder))


def test_code_beside_a_model_is_never_run(classifier: Callable[..., Path]) -> None:
    folder = classifier(size=SIZE)
    (folder / "modeling.py").write_text("raise SystemExit(3)")
    values = json.loads((folder / "config.json").read_text())
    own = {"AutoConfig": "modeling.Config", "AutoModelForImageClassification": "modeling.Model"}
    (folder / "config.json").write_text(json.dumps(values | {"model_type": "mine", "auto_map": own}))
    with pytest.raises(InputError, match=r"fails: ValueError: .*contains custom code"):
        Transformers().make(str(folder), config(folder))
    with pytest.raises(
        InputError, match=r"fails: TypeError: .*multiple values for keyword argument 'trust_remote_code'"
    ):
        Transformers().make(str(folder), config(folder, arguments={"trust_remote_code": True}))


def test_pickles_are_never_read(classifier: Callable[..., Path]) -> None:
    folder = classifier(size=SIZE)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"has no model.safetensors, and pickles are never read"):
        Transformers().check(str(folder), config(folder))


def test_a_folder_without_a_model_is_named(transformers: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"'transformers:{tmp_path}': {tmp_path} has no config.json\.$"):
        Transformers().check(str(tmp_path), config(tmp_path))
