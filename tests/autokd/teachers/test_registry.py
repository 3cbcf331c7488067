from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from autokd.config.schema import TeacherConfig
from autokd.data.dataset import Dataset
from autokd.data.stream import normalise
from autokd.errors import InputError
from autokd.teachers.registry import Teacher, load_teacher, teacher_of
from search_spaces.architecture.format import Architecture, Node
from search_spaces.networks.network import build

CPU = torch.device("cpu")

SETTINGS: list[dict[str, Any]] = [
    {"output": 0},
    {"output": "logits"},
    {"resize": 8},
    {"resize": [8, 9]},
    {"preprocess": "my_teachers_for_tests:doubled"},
    {"mean": [0.5], "deviation": [0.5]},
    {"mean": [0.4], "deviation": [0.5]},
    {"classes": [0, 1, 2]},
    {"classes": [0, 2, 1]},
    {"probabilities": True},
]


def test_a_factory_and_weights_make_the_network(tmp_path: Path, config, make_network) -> None:
    torch.save(make_network().state_dict(), tmp_path / "w.pth")
    teacher, images = load_teacher(config(weights=str(tmp_path / "w.pth")), CPU), torch.randn(4, 1, 6, 6)
    torch.testing.assert_close(teacher(images), make_network().eval()(images))
    assert teacher.digest == Teacher(make_network(), "my_teachers_for_tests:network").digest


@pytest.mark.parametrize(
    ("factory", "weights", "message"),
    [
        ("netwrok", None, "has no 'netwrok'; the nearest known is 'network'"),
        ("number", None, "must return a module or a callable, not int"),
        ("failing", None, r"teacher.factory: \w+:failing\(\) fails: RuntimeError: no memory"),
        ("function", "w.safetensors", "teacher.weights needs a factory that returns a module, not function"),
        ("network", "gone.safetensors", "teacher.weights: there is no file gone.safetensors"),
    ],
)
def test_a_factory_that_does_not_fit_is_named(config, factory: str, weights: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_teacher(config(factory, weights=weights), CPU)


def test_a_teacher_made_from_nothing_cannot_be_loaded() -> None:
    with pytest.raises(InputError, match=r"teacher.factory is missing: .* from factory, architecture, onnx or outputs"):
        load_teacher(TeacherConfig(), CPU)


def test_a_student_teaches_by_its_architecture_and_weights(tmp_path: Path) -> None:
    nodes = Node("input", (), 1), Node("conv3x3_bn", (0,), 4), Node("classifier", (1,), 10)
    student = build(Architecture((1, 8, 8), 10, nodes), seed=3)
    (tmp_path / "architecture.json").write_text(Architecture((1, 8, 8), 10, nodes).to_json())
    save_file(student.state_dict(), tmp_path / "weights.safetensors")
    files = {"architecture": str(tmp_path / "architecture.json"), "weights": str(tmp_path / "weights.safetensors")}
    teacher, images = load_teacher(TeacherConfig.model_validate(files), CPU), torch.randn(4, 1, 8, 8)
    torch.testing.assert_close(teacher(images), student.eval()(images))
    with pytest.raises(InputError, match=r"teacher.architecture: .*weights.safetensors is no readable architecture"):
        load_teacher(TeacherConfig.model_validate(files | {"architecture": files["weights"]}), CPU)
    with pytest.raises(InputError, match=r"teacher.architecture: there is no file gone.json"):
        load_teacher(TeacherConfig.model_validate(files | {"architecture": "gone.json"}), CPU)
    with pytest.raises(ValueError, match="an architecture needs weights beside it"):
        TeacherConfig(architecture="architecture.json")


def test_a_callable_that_is_no_module_teaches_too(config) -> None:
    teacher = load_teacher(config("function"), CPU)
    assert teacher.parameter_count is None
    assert teacher(torch.ones(2, 1, 6, 6)).tolist() == [[1, 1, 1], [1, 1, 1]]


def test_only_weights_of_four_dimensions_are_channels_last(config, monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = nn.ModuleList([nn.Conv1d(3, 4, 5), nn.Conv2d(3, 4, 5), nn.Linear(3, 4)])
    monkeypatch.setattr("autokd.teachers.factories.registry.call", lambda *_: mixed)
    load_teacher(config(), CPU)
    signal, image, vector = (part.weight for part in mixed)
    assert signal.is_contiguous()
    assert vector.is_contiguous()
    assert image.is_contiguous(memory_format=torch.channels_last)


def test_lazy_layers_must_know_their_sizes(config, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autokd.teachers.factories.registry.call", lambda *_: nn.LazyConv2d(3, 1))
    with pytest.raises(
        InputError, match=r"^the network of teacher.factory '.*' has lazy layers, .*: run it on a sample"
    ):
        load_teacher(config(), CPU, dataset)
    with pytest.raises(InputError, match=r"^the teacher has lazy layers"):
        teacher_of(nn.LazyConv2d(3, 1), "name", config(), dataset)


def test_a_network_is_asked_and_read_as_the_settings_say(config, dataset: Dataset) -> None:
    settings = {"preprocess": "my_teachers_for_tests:doubled", "classes": [2, 0]}
    teacher = load_teacher(config("function", **settings), CPU, dataset)
    images = dataset.validation.images
    expected = 2 * images.double().mean((1, 2)) / 255
    found = teacher(normalise(images, dataset.normalisation))
    torch.testing.assert_close(found.double(), expected.expand(-1, 2), rtol=1e-5, atol=1e-6)


def test_every_setting_that_changes_what_is_said_changes_the_digest(config, dataset: Dataset, make_network) -> None:
    def digest(**settings: Any) -> str:
        return teacher_of(make_network(), "name", config(**settings), dataset).digest

    plain = digest()
    assert plain == Teacher(make_network(), "name").digest
    assert len({plain, *(digest(**settings) for settings in SETTINGS)}) == 1 + len(SETTINGS)
    assert digest(floor=0.3, probabilities=False) == plain


def test_another_preprocess_of_the_same_name_is_another_teacher(config, dataset: Dataset, module: Path) -> None:
    settings = config("function", preprocess="my_teachers_for_tests:doubled")
    before = load_teacher(settings, CPU, dataset).digest
    assert load_teacher(settings, CPU, dataset).digest == before
    module.write_text(module.read_text().replace("images * 2", "images * 3"))
    assert load_teacher(settings, CPU, dataset).digest != before


def test_outputs_need_no_network(tmp_path: Path, dataset: Dataset) -> None:
    arrays: dict[str, Any] = {part: 5 * np.eye(3)[split.labels] for part, split in dataset.splits.items()}
    np.savez(tmp_path / "o.npz", **arrays)
    config = TeacherConfig(outputs=str(tmp_path / "o.npz"))
    teacher = load_teacher(config, CPU, dataset)
    assert np.array_equal(teacher.on_split(dataset, "test", CPU), arrays["test"])
    chosen = load_teacher(config.model_copy(update={"classes": (0, 1, 2)}), CPU, dataset)
    assert chosen.digest != teacher.digest
    with pytest.raises(ValueError, match="need the data set"):
        load_teacher(config, CPU)
