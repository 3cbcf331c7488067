import io
import pickle
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from autokd.errors import InputError
from autokd.teachers.weights import SUFFIXES, find_path, load_weights


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_weights_of_every_kind_give_the_same_network(tmp_path: Path, make_network, suffix: str) -> None:
    original, other, path = make_network(), make_network().double().float(), tmp_path / f"weights{suffix}"
    state = original.state_dict()
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    torch.nn.init.zeros_(other[0].weight)
    load_weights(other, path, "m:f")
    assert all(torch.equal(state[name], tensor) for name, tensor in other.state_dict().items())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.safetensors", b"damaged", "w.safetensors is not a readable file of tensors"),
        ("w.pth", b"damaged", "w.pth is not a readable file of tensors"),
        ("w.pth", b"", "w.pth is not a readable file of tensors"),
        ("w.onnx", b"x", "must end in .safetensors, .pth, .pt, .th, .ckpt or .bin, but got 'w.onnx'"),
    ],
)
def test_weights_that_cannot_be_read_are_named(
    tmp_path: Path, make_network, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_weights(make_network(), tmp_path / name, "m:f")
    assert "\n" not in str(caught.value)


class Dangerous:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (sys.exit, ("code of a weights file was run",))


@pytest.mark.parametrize("save", [torch.save, partial(pickle.dump, protocol=2)], ids=["torch", "pickle"])
def test_a_file_of_pickled_objects_is_refused_and_not_run(tmp_path: Path, make_network, save) -> None:
    buffer = io.BytesIO()
    save({"weight": Dangerous()}, buffer)
    (tmp_path / "w.pth").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match=r"w.pth is not a readable file of tensors"):
        load_weights(make_network(), tmp_path / "w.pth", "m:f")


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_of_a_torchscript_archive_the_ways_out_are_said_and_no_warning(tmp_path: Path, make_network) -> None:
    torch.jit.trace(make_network().eval(), torch.zeros(1, 1, 6, 6)).save(str(tmp_path / "w.pt"))
    wanted = r"w.pt is a TorchScript archive: save its state_dict, or return torch.jit.load\(...\) from teacher.factory"
    with pytest.raises(InputError, match=wanted):
        load_weights(make_network(), tmp_path / "w.pt", "m:f")


@pytest.mark.parametrize("kind", ["missing", "other shape", "numbered", "tensor", "list"])
def test_weights_of_another_architecture_are_refused(tmp_path: Path, make_network, kind: str) -> None:
    state = make_network().state_dict()
    value: object = {
        "missing": {"0.weight": torch.zeros(2, 1, 3, 3)},
        "other shape": {**state, "3.bias": torch.zeros(4)},
        "numbered": {0: torch.zeros(1)},
        "tensor": torch.zeros(3),
        "list": [torch.zeros(3)],
    }[kind]
    torch.save(value, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"^teacher.weights: .*w.pth (does not fit|is not a readable)") as caught:
        load_weights(make_network(), tmp_path / "w.pth", "m:f")
    assert "\n" not in str(caught.value)


CHECKPOINTS = [
    (lambda state: {"state_dict": state, "epoch": 3}, "entry 'state_dict'"),
    (lambda state: {"model": state, "optimizer": {"state": {0: {"step": torch.ones(1)}}, "lr": 0.1}}, "entry 'model'"),
    (
        lambda state: {"model_state_dict": {f"module.{key}": tensor for key, tensor in state.items()}},
        "entry 'model_state_dict' without the prefix 'module.'",
    ),
    (
        lambda state: {f"module.{key}": tensor for key, tensor in state.items()},
        "the file itself without the prefix 'module.'",
    ),
    (
        lambda state: {"state_dict": {f"model.net.{key}": tensor for key, tensor in state.items()}},
        "entry 'state_dict' without the prefix 'model.net.'",
    ),
    (lambda state: {"model": state, "head": {"weight": torch.ones(1)}}, "entry 'model'"),
]


@pytest.mark.parametrize(("wrap", "where"), CHECKPOINTS)
def test_a_checkpoint_as_people_have_it_is_unwrapped_and_that_is_said(
    tmp_path: Path, make_network: Any, wrap: Callable[[Any], object], where: str
) -> None:
    state, other, lines = make_network().state_dict(), make_network(), list[str]()
    torch.save(wrap(state), tmp_path / "w.ckpt")
    torch.nn.init.zeros_(other[0].weight)
    load_weights(other, tmp_path / "w.ckpt", "m:f", lines.append)
    assert all(torch.equal(state[name], tensor) for name, tensor in other.state_dict().items())
    assert lines == [f"teacher.weights: w.ckpt: the weights are {where}"]


def test_of_a_plain_state_dict_nothing_is_said(tmp_path: Path, make_network: Any) -> None:
    torch.save(make_network().state_dict(), tmp_path / "w.pth")
    load_weights(make_network(), tmp_path / "w.pth", "m:f", pytest.fail)


def test_a_checkpoint_with_two_networks_that_fit_is_ambiguous(tmp_path: Path, make_network: Any) -> None:
    state = make_network().state_dict()
    torch.save({"state_dict": state, "state_dict_ema": state}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="several state dicts that fit 'm:f', 'state_dict', 'state_dict_ema': save"):
        load_weights(make_network(), tmp_path / "w.pth", "m:f")


def test_of_a_large_state_that_does_not_fit_the_first_keys_are_shown(tmp_path: Path, make_network: Any) -> None:
    torch.save({"model": {f"layer{k}.weight": torch.ones(1) for k in range(100)}}, tmp_path / "w.pth")
    with pytest.raises(InputError) as caught:
        load_weights(make_network(), tmp_path / "w.pth", "m:f")
    message = str(caught.value)
    assert "in entry 'model', 9 keys are missing (0.weight, 0.bias, 1.weight, ...)" in message
    assert "100 keys are unexpected (layer0.weight, layer1.weight, layer2.weight, ...)" in message
    assert len(message) < 400


def test_weights_of_another_shape_are_named(tmp_path: Path, make_network: Any) -> None:
    torch.save(make_network().state_dict() | {"3.bias": torch.zeros(4)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"in the file itself, 3.bias must be of \(3,\), but is of \(4,\)"):
        load_weights(make_network(), tmp_path / "w.pth", "m:f")


def test_a_file_lies_in_a_folder_or_in_a_package(tmp_path: Path) -> None:
    (tmp_path / "b.pth").touch()
    assert find_path(str(tmp_path / "b.pth"), "teacher.weights") == tmp_path / "b.pth"
    assert find_path("autokd.recipes:digits.safetensors", "teacher.weights").is_file()


@pytest.mark.parametrize("name", ["no_such_package:w.pth", ":w.pth", "autokd.core.references:w.pth"])
def test_a_file_in_no_package_is_named(name: str) -> None:
    with pytest.raises(InputError, match=f"teacher.onnx '{name}': there is no package"):
        find_path(name, "teacher.onnx")


@pytest.mark.parametrize("name", ["gone.npz", "autokd.recipes:gone.npz"])
def test_a_file_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(InputError, match=r"teacher.outputs: there is no file .*gone.npz\.$"):
        find_path(name, "teacher.outputs")
