import io
import pickle
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from autokd.config import TeacherConfig
from autokd.data.dataset import Dataset
from autokd.errors import InputError
from autokd.teachers.teacher import Teacher, check_teacher, load_teacher, weights_path

CPU = torch.device("cpu")
MODULE = """
from torch import nn

def network():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 3))

def function():
    return lambda images: images.mean((2, 3)).repeat(1, 3)

def number():
    return 3

def failing():
    raise RuntimeError("no memory")
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A user's module with teachers."""
    (tmp_path / "my_teachers_for_tests.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_teachers_for_tests"
    sys.modules.pop("my_teachers_for_tests", None)


def config(factory: str = "network", weights: Path | str | None = None) -> TeacherConfig:
    return TeacherConfig(factory=f"my_teachers_for_tests:{factory}", weights=None if weights is None else str(weights))


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 3))


def reads_the_bands(images: Tensor) -> Tensor:
    """Logits of the data that `make_dataset` makes: the brightness of each third."""
    return images[:, 0].unflatten(1, (3, 2)).mean((2, 3))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_weights_of_every_kind_give_the_same_teacher(tmp_path: Path, suffix: str):
    original, path = network(), tmp_path / f"weights{suffix}"
    state = original.state_dict()
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    teacher, images = load_teacher(config(weights=path), CPU), torch.randn(4, 1, 6, 6)
    assert torch.equal(teacher(images), original.eval()(images))
    assert teacher.parameter_count == sum(p.numel() for p in original.parameters())


def test_a_teacher_is_frozen_in_evaluation_mode_and_gives_float32():
    teacher = Teacher(network().double(), "name")
    logits = teacher(torch.randn(2, 1, 6, 6, dtype=torch.float64))
    assert not any(part.training for part in teacher._network.modules())
    assert (logits.requires_grad, logits.dtype) == (False, torch.float32)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.safetensors", None, "there is no file .*gone.safetensors"),
        ("w.safetensors", b"damaged", "w.safetensors is not a readable file of tensors"),
        ("w.pth", b"damaged", "w.pth is not a readable file of tensors"),
        ("w.pth", b"", "w.pth is not a readable file of tensors"),
        ("w.onnx", b"x", "must end in .safetensors, .pth or .pt, but got 'w.onnx'"),
    ],
)
def test_weights_that_cannot_be_read_are_named(tmp_path: Path, name: str, content: bytes | None, message: str):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_teacher(config(weights=tmp_path / name), CPU)
    assert "\n" not in str(caught.value)


class Dangerous:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (sys.exit, ("code of a weights file was run",))


@pytest.mark.parametrize("save", [torch.save, partial(pickle.dump, protocol=2)], ids=["torch", "pickle"])
def test_a_file_of_pickled_objects_is_refused_and_not_run(tmp_path: Path, save):
    buffer = io.BytesIO()
    save({"weight": Dangerous()}, buffer)
    (tmp_path / "w.pth").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match=r"w.pth is not a readable file of tensors"):
        load_teacher(config(weights=tmp_path / "w.pth"), CPU)


@pytest.mark.parametrize(
    "value",
    [
        {"0.weight": torch.zeros(2, 1, 3, 3)},
        {"state_dict": network().state_dict(), "epoch": 3},
        {**network().state_dict(), "3.bias": torch.zeros(4)},
        {0: torch.zeros(1)},
        torch.zeros(3),
        [torch.zeros(3)],
    ],
    ids=["missing", "nested", "other shape", "numbered", "tensor", "list"],
)
def test_weights_of_another_architecture_are_refused(tmp_path: Path, value: object):
    torch.save(value, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"^teacher.weights: .*w.pth (does not fit|is not a readable)") as caught:
        load_teacher(config(weights=tmp_path / "w.pth"), CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("factory", "weights", "message"),
    [
        ("netwrok", None, "has no 'netwrok'; the nearest known is 'network'"),
        ("number", None, "must return a module or a callable, not int"),
        ("failing", None, r"teacher.factory: \w+:failing\(\) fails: RuntimeError: no memory"),
        ("function", "w.safetensors", "teacher.weights needs a factory that returns a module, not function"),
    ],
)
def test_a_factory_that_does_not_fit_is_named(factory: str, weights: str | None, message: str):
    with pytest.raises(InputError, match=message):
        load_teacher(config(factory, weights), CPU)


def test_a_teacher_without_a_factory_cannot_be_loaded():
    with pytest.raises(InputError, match=r"teacher.factory is missing"):
        load_teacher(TeacherConfig(), CPU)


def test_a_callable_that_is_no_module_teaches_too(dataset: Dataset):
    teacher = load_teacher(config("function"), CPU)
    assert teacher.parameter_count is None
    assert teacher(torch.ones(2, 1, 6, 6)).tolist() == [[1, 1, 1], [1, 1, 1]]


def test_the_digest_is_of_the_weights_and_the_name():
    digests = {Teacher(network(), "a").digest, Teacher(network(), "a").digest}
    assert len(digests) == 1
    for name, tensor in network().state_dict().items():
        other = network()
        with torch.no_grad():
            other.state_dict()[name].view(-1)[-1] += 1
        digests.add(Teacher(other, "a").digest)
        assert tensor.numel()
    digests |= {Teacher(network(), "b").digest, Teacher(network().double(), "a").digest}
    assert len(digests) == 1 + len(network().state_dict()) + 2


def test_the_digest_does_not_depend_on_the_memory_format():
    last = network().to(memory_format=torch.channels_last)
    assert Teacher(last, "a").digest == Teacher(network(), "a").digest


def test_a_good_teacher_gives_its_metrics(dataset: Dataset):
    metrics = check_teacher(Teacher(reads_the_bands, "bands"), dataset, 0.9, CPU)
    assert metrics["accuracy"] == 1
    assert set(metrics) == {"accuracy", "loss", "ece"}


@pytest.mark.parametrize(
    ("network", "floor", "message"),
    [
        (
            lambda x: -reads_the_bands(x),
            None,
            "is 0.00%, hardly better than .* most frequent class .33.33%.*teacher.floor",
        ),
        (lambda x: torch.eye(3)[[0] * len(x)], None, "is 33.33%, hardly better than"),
        (lambda x: torch.eye(3)[[0] * len(x)], 0.5, "is 33.33%, below teacher.floor = 50.00%"),
        (lambda x: torch.zeros(len(x), 7), None, r"gives \(7,\) outputs a sample, but the data has 3 classes"),
        (lambda x: torch.zeros(len(x)), None, r"gives \(\) outputs a sample, but the data has 3 classes"),
        (nn.Linear(5, 3), None, r"the teacher fails on images of \(1, 6, 6\): RuntimeError: mat1"),
        (lambda x: {"logits": x}, None, "the teacher fails on images of .*AttributeError"),
    ],
    ids=["worse than chance", "constant", "below floor", "classes", "no matrix", "failing", "no tensor"],
)
def test_a_teacher_that_cannot_teach_is_refused_in_one_line(dataset: Dataset, network, floor, message):
    with pytest.raises(InputError, match=message) as caught:
        check_teacher(Teacher(network, "name"), dataset, floor, CPU)
    assert "\n" not in str(caught.value)


def test_a_stated_floor_below_chance_is_the_users_word(dataset: Dataset):
    constant = Teacher(lambda x: torch.eye(3)[[0] * len(x)], "constant")
    assert check_teacher(constant, dataset, 0.2, CPU)["accuracy"] == pytest.approx(1 / 3)


def test_weights_lie_in_a_file_or_in_a_package():
    assert weights_path("a/b.pth") == Path("a/b.pth")
    assert weights_path("autokd.recipes:digits.safetensors").is_file()


@pytest.mark.parametrize("name", ["no_such_package:w.pth", ":w.pth", "autokd.names:w.pth"])
def test_weights_in_no_package_are_named(name: str):
    with pytest.raises(InputError, match=f"teacher.weights '{name}': there is no package"):
        weights_path(name)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(6, 2), (6,)], ids=["signals", "vectors"])
def test_a_teacher_of_signals_or_vectors_is_checked_as_one_of_images(make_dataset, shape, dtype):
    def reads_thirds(inputs: Tensor) -> Tensor:
        return inputs.reshape(len(inputs), -1, 3, 2).mean((1, 3))

    dataset = make_dataset(shape=shape, dtype=dtype)
    assert check_teacher(Teacher(reads_thirds, "name"), dataset, 0.9, CPU)["accuracy"] > 0.9
    message = rf"the teacher fails on {dataset.train.kind} of \({dataset.input_shape[0]},.*\): "
    with pytest.raises(InputError, match=message):
        check_teacher(Teacher(nn.Conv2d(1, 2, 3), "name"), dataset, None, CPU)


def test_only_weights_of_four_dimensions_are_channels_last(monkeypatch: pytest.MonkeyPatch):
    mixed = nn.ModuleList([nn.Conv1d(3, 4, 5), nn.Conv2d(3, 4, 5), nn.Linear(3, 4)])
    monkeypatch.setattr("autokd.teachers.teacher.call", lambda *_: mixed)
    load_teacher(config(), CPU)
    signal, image, vector = (part.weight for part in mixed)
    assert signal.is_contiguous()
    assert vector.is_contiguous()
    assert image.is_contiguous(memory_format=torch.channels_last)
