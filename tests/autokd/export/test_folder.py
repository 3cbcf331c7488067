import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from autokd.data.dataset import Dataset
from autokd.data.stream import normalise
from autokd.errors import AutoKDError, InputError
from autokd.export.folder import FILES, Export, preprocess_source, verify_folder, write_folder
from autokd.training.metrics import label_metrics, predict
from search_spaces.architecture.format import Architecture, Node
from search_spaces.networks.network import build

# A fresh interpreter that imports torch takes two seconds.
pytestmark = pytest.mark.slow

NODES = (
    Node("input", (), 3),
    Node("conv3x3_bn", (0,), 4, stride=2),
    Node("relu_sepconv3x3_bn", (1,), 4),
    Node("classifier", (1, 2), 3, merge="weighted_sum"),
)
ARCHITECTURE = Architecture((3, 6, 6), 3, NODES)


@pytest.fixture(scope="module")
def dataset(make_dataset: Callable[..., Dataset]) -> Dataset:
    return make_dataset(channels=3)


@pytest.fixture(scope="module")
def network(dataset: Dataset) -> nn.Module:
    """With statistics that batch norm has seen, and weights that tell classes apart."""
    network = build(ARCHITECTURE, seed=3)
    with torch.no_grad():
        network(normalise(dataset.train.images, dataset.normalisation))
        for parameter in network.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    return network.eval()


@pytest.fixture(scope="module")
def export(dataset: Dataset, network: nn.Module) -> Export:
    facts = {"search": "first", "metrics": {"accuracy": 0.5}}
    return Export(ARCHITECTURE, network, dataset.normalisation, dataset.validation, dataset.test, facts)


@pytest.fixture(scope="module")
def exported(export: Export, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The student's folder; to be copied, not changed."""
    folder = tmp_path_factory.mktemp("exported") / "student"
    write_folder(export, folder)
    return folder


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    """A copy of the student's folder."""
    return Path(shutil.copytree(exported, tmp_path / "student"))


def sign(folder: Path) -> None:
    """Make the manifest agree with the files again, as a careful forger would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_the_folder_computes_what_the_student_did(export: Export, dataset: Dataset, tmp_path: Path):
    folder = tmp_path / "new" / "student"
    found = write_folder(export, folder)
    expected = label_metrics(predict(export.module, dataset.test, dataset.normalisation), dataset.test.labels)
    assert found.max_difference < 1e-4
    assert found.test_accuracy == expected["accuracy"]
    assert verify_folder(folder, dataset.test) == found
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["metrics"] == {"accuracy": 0.5, "test_accuracy": expected["accuracy"]}
    assert {entry.name for entry in folder.iterdir()} == {*FILES, "manifest.json"}
    assert [entry.name for entry in folder.parent.iterdir()] == ["student"]


def test_batch_norm_is_folded_and_the_manifest_counts_what_is_written(copied: Path):
    weights = load_file(copied / "weights.safetensors")
    manifest = json.loads((copied / "manifest.json").read_text())
    assert not [name for name in weights if "running" in name]
    assert manifest["batch_norm_folded"]
    assert manifest["cost"]["params"] == sum(value.numel() for value in weights.values())
    written = Architecture.from_json((copied / "architecture.json").read_text())
    rebuilt = build(written).eval()
    rebuilt.load_state_dict(weights)


def test_without_folding_the_trained_weights_are_written_as_they_are(export: Export, tmp_path: Path):
    found = write_folder(replace(export, fold=False), tmp_path / "student")
    weights = load_file(tmp_path / "student" / "weights.safetensors")
    state = export.module.state_dict()
    assert found.max_difference < 1e-6
    assert set(weights) == set(state)
    assert all(torch.equal(weights[name], state[name]) for name in weights)
    assert Architecture.from_json((tmp_path / "student" / "architecture.json").read_text()) == ARCHITECTURE


def test_the_folder_loads_where_nothing_of_ours_can_be_imported(copied: Path):
    code = (
        "import sys; sys.modules.update(autokd=None, search_spaces=None, workers=None)\n"
        "import torch, model\nfrom safetensors.torch import load_file\n"
        "student = model.Student(); student.load_state_dict(load_file('weights.safetensors')); student.eval()\n"
        "probe = load_file('probe.safetensors')\n"
        "print((student(model.preprocess(probe['images'])) - probe['logits']).abs().max().item())"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=copied, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1e-4


def test_the_probe_holds_the_students_own_logits(export: Export, dataset: Dataset, copied: Path):
    probe = load_file(copied / "probe.safetensors")
    assert torch.equal(probe["images"].permute(0, 2, 3, 1), dataset.validation.images)
    torch.testing.assert_close(probe["logits"], predict(export.module, dataset.validation, dataset.normalisation))


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_refused(copied: Path, name: str):
    content = bytearray((copied / name).read_bytes())
    content[-2] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name} was changed since the export"):
        verify_folder(copied)
    (copied / name).unlink()
    with pytest.raises(InputError, match=f"is incomplete: {name} is missing"):
        verify_folder(copied)


def test_changed_weights_are_found_by_their_logits_even_where_the_manifest_agrees(copied: Path):
    weights = load_file(copied / "weights.safetensors")
    weights[next(name for name in weights if name.endswith("bias"))][0] += 0.1
    save_file(weights, copied / "weights.safetensors")
    sign(copied)
    with pytest.raises(AutoKDError, match="the reloaded student's logits differ by"):
        verify_folder(copied)


def test_another_test_accuracy_is_found(export: Export, dataset: Dataset, copied: Path):
    agreeing = replace(dataset.test, labels=predict(export.module, dataset.test, dataset.normalisation).argmax(1))
    with pytest.raises(AutoKDError, match=r"test accuracy is .* here, but was .* at the export"):
        verify_folder(copied, agreeing)


def test_a_student_that_is_not_its_architecture_is_not_exported(export: Export, tmp_path: Path):
    class Doubled(nn.Module):
        def state_dict(self, *args, **kwargs):
            return export.module.state_dict()

        def forward(self, images):
            return 2 * export.module(images)

    with pytest.raises(AutoKDError, match="logits differ"):
        write_folder(replace(export, module=Doubled(), test=None), tmp_path / "student")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_imports_ours_is_refused(copied: Path):
    model = copied / "model.py"
    model.write_text("import search_spaces\n" + model.read_text().replace("from __future__ import annotations\n", ""))
    sign(copied)
    with pytest.raises(AutoKDError, match=r"the exported model does not load: .*search_spaces"):
        verify_folder(copied)


def test_an_earlier_export_is_replaced(export: Export, copied: Path):
    (copied / "__pycache__").mkdir()
    write_folder(replace(export, test=None, facts={"search": "second"}), copied)
    assert json.loads((copied / "manifest.json").read_text())["search"] == "second"


@pytest.mark.parametrize(
    "files",
    [
        {"notes.txt": "precious"},
        {"manifest.json": '{"name": "a web page"}'},
        {"manifest.json": "no json"},
        {"manifest.json": "[1]"},
        {"manifest.json": '{"format": 1, "files": {}, "metrics": {}}', "notes.txt": "precious"},
    ],
)
def test_a_folder_of_somebody_else_is_left_alone(export: Export, tmp_path: Path, files: dict[str, str]):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=r"choose another|is not an exported folder"):
        write_folder(export, tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == files


def test_a_file_in_the_way_is_left_alone(export: Export, tmp_path: Path):
    (tmp_path / "student").write_text("precious")
    with pytest.raises(InputError, match="student is not a folder"):
        write_folder(export, tmp_path / "student")


def test_a_folder_that_is_no_export_cannot_be_verified(tmp_path: Path):
    with pytest.raises(InputError, match=r"has no readable manifest.json"):
        verify_folder(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 99, "files": {}, "metrics": {}}')
    with pytest.raises(InputError, match="its format is 99, but this version reads 1"):
        verify_folder(tmp_path)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((6, 6, 3), torch.uint8),
        ((6, 2), torch.uint8),
        ((6, 2), torch.float32),
        ((6,), torch.uint8),
        ((6,), torch.float32),
    ],
)
def test_the_written_preprocess_does_what_training_did_bit_for_bit(make_dataset, shape, dtype):
    dataset = make_dataset(shape=shape, dtype=dtype)
    module: dict[str, Any] = {}
    exec(f"from torch import Tensor\n{preprocess_source(dataset.train, dataset.normalisation)}", module)
    found = module["preprocess"](dataset.train.images.movedim(-1, 1))
    assert torch.equal(found, normalise(dataset.train.images, dataset.normalisation))
