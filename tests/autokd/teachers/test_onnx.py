import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autokd.config.schema import TeacherConfig
from autokd.data.dataset import Dataset
from autokd.data.stream import normalise
from autokd.errors import InputError
from autokd.teachers import onnx as onnx_file
from autokd.teachers.onnx import OnnxNetwork, file_digest, parameter_count
from autokd.teachers.registry import load_teacher

CPU = torch.device("cpu")


def test_without_onnxruntime_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"teacher.onnx needs onnxruntime: pip install 'autokd\[onnx\]'"):
        OnnxNetwork(tmp_path / "t.onnx")


def test_without_the_package_onnx_parameters_are_not_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert parameter_count(tmp_path / "t.onnx") is None


@pytest.fixture
def linear() -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Linear(36, 3)


@pytest.fixture
def write(linear: nn.Linear, tmp_path: Path) -> Callable[..., Path]:
    """Writes that layer behind a flattening as an ONNX file; everything about the input may be given."""
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper

    def make(
        shape: tuple[int | str, ...] = ("n", 1, 6, 6),
        element: str = "FLOAT",
        outputs: tuple[str, ...] = ("logits",),
        inputs: tuple[str, ...] = ("pixels",),
        external: str | None = None,
    ) -> Path:
        arrays = {"weight": linear.weight.detach().numpy(), "bias": linear.bias.detach().numpy()}
        constants = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in arrays.items()]
        constants.append(numpy_helper.from_array(np.array([-1, 36]), "flat"))
        nodes = [
            helper.make_node("Cast", ["pixels"], ["floats"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Reshape", ["floats", "flat"], ["features"]),
            helper.make_node("Gemm", ["features", "weight", "bias"], ["logits"], transB=1),
        ]
        kind = getattr(onnx.TensorProto, element)
        given = [helper.make_tensor_value_info(name, kind, shape) for name in inputs]
        taken = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(nodes, "teacher", given, taken, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
        path = tmp_path / "teacher.onnx"
        if external:
            (tmp_path / external).unlink(missing_ok=True)  # else the package appends to it
        options: dict[str, Any] = {"save_as_external_data": True, "location": external, "size_threshold": 0}
        onnx.save(model, str(path), **(options if external else {}))
        return path

    return make


def samples(n: int = 5) -> torch.Tensor:
    return torch.randn(n, 1, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("batch", ["n", 1, 2, 5, 8])
def test_a_file_computes_what_the_network_did_for_any_batch(write, linear: nn.Linear, batch: int | str) -> None:
    network = OnnxNetwork(write((batch, 1, 6, 6)))
    found = network(samples())
    assert isinstance(found, torch.Tensor)
    torch.testing.assert_close(found, linear(samples().flatten(1)).detach())


@pytest.mark.parametrize("element", ["FLOAT16", "DOUBLE", "UINT8"])
def test_samples_become_the_type_that_the_file_wants(write, linear: nn.Linear, element: str) -> None:
    network, whole = OnnxNetwork(write(element=element)), samples().abs().mul(9).floor()
    torch.testing.assert_close(network(whole), linear(whole.flatten(1)).detach(), rtol=1e-3, atol=1e-3)


def test_several_outputs_come_by_name(write) -> None:
    found = OnnxNetwork(write(outputs=("logits", "features")))(samples())
    assert isinstance(found, dict)
    assert {name: tuple(value.shape) for name, value in found.items()} == {"logits": (5, 3), "features": (5, 36)}


def test_it_has_as_many_threads_as_torch(write, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    runtime = pytest.importorskip("onnxruntime")
    original = runtime.InferenceSession

    def session(path: str, options: Any, **others: Any) -> Any:
        seen.append(options.intra_op_num_threads)
        return original(path, options, **others)

    monkeypatch.setattr(runtime, "InferenceSession", session)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    OnnxNetwork(write())
    assert seen == [3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"inputs": ("pixels", "mask")},
            r"must have one input of numbers, but has 'pixels' of tensor\(float\), 'mask' of",
        ),
        ({"element": "INT64"}, r"must have one input of numbers, but has 'pixels' of tensor\(int64\)"),
    ],
)
def test_a_file_with_other_inputs_is_refused(write, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        OnnxNetwork(write(**options))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "t.onnx").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"teacher.onnx: .*t.onnx is not a readable ONNX file: ") as caught:
        OnnxNetwork(tmp_path / "t.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["empty", "folder"])
def test_what_is_no_network_is_named_before_it_is_digested(tmp_path: Path, dataset: Dataset, kind: str) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "t.onnx"
    path.touch() if kind == "empty" else path.mkdir()
    with pytest.raises(InputError, match=r"teacher.onnx: .*t.onnx is not a readable ONNX file: "):
        load_teacher(TeacherConfig(onnx=str(path)), CPU, dataset)


@pytest.mark.parametrize("shape", [("n", 1, 8, 6), ("n", 36), ("n", 3, "h", "w")])
def test_samples_of_another_shape_are_refused_with_the_way_out(write, shape: tuple[int | str, ...]) -> None:
    with pytest.raises(InputError, match=r"takes samples of .*, but gets 1 x 6 x 6: set teacher.resize or"):
        OnnxNetwork(write(shape))(samples())


@pytest.mark.parametrize("external", [None, "weights.data"])
def test_the_digest_is_of_the_network_wherever_its_weights_lie(write, linear: nn.Linear, external: str | None) -> None:
    before = file_digest(write(external=external))
    assert file_digest(write(external=external)) == before
    with torch.no_grad():
        linear.weight[0, 0] += 1
    assert file_digest(write(external=external)) != before


def test_the_parameters_are_the_weights_and_no_shapes(write) -> None:
    assert parameter_count(write()) == 36 * 3 + 3
    assert parameter_count(write(external="weights.data")) == 36 * 3 + 3


def test_a_teacher_is_made_from_a_file(write, linear: nn.Linear, dataset: Dataset) -> None:
    config = TeacherConfig(onnx=str(write(outputs=("features", "logits"))), output="logits", classes=(2, 1, 0))
    teacher = load_teacher(config, CPU, dataset)
    images = normalise(dataset.test.images, dataset.normalisation)
    torch.testing.assert_close(teacher(images), linear(images.flatten(1)).detach()[:, [2, 1, 0]])
    assert (teacher.parameter_count, teacher.network) == (111, None)
    assert teacher.digest != load_teacher(config.model_copy(update={"classes": None}), CPU, dataset).digest


def test_the_digest_does_not_depend_on_whether_preprocess_was_imported_before(
    write, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_inputs_for_tests.py").write_text("def same(images):\n    return images\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_inputs_for_tests", raising=False)
    config = TeacherConfig(onnx=str(write()), preprocess="my_inputs_for_tests:same")
    first, again = (load_teacher(config, CPU, dataset).digest for _ in range(2))
    assert first == again


def test_an_external_file_is_found_in_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"1")
    (tmp_path / "t.onnx").write_bytes(b"..\x0a\x08location\x12\x05w.bin..\x0a\x08location\x12\x04gone")
    assert onnx_file._external_files(tmp_path / "t.onnx") == ["w.bin"]
