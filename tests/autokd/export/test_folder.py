import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from autokd.data.dataset import Dataset
from autokd.errors import AutoKDError
from autokd.export.folder import Export, write_folder
from autokd.export.manifest import FILES
from autokd.export.verification import verify_folder
from autokd.training.metrics import label_metrics, predict
from search_spaces.architecture.format import Architecture
from search_spaces.networks.network import build

# A fresh interpreter that imports torch takes two seconds.
pytestmark = pytest.mark.slow


def test_the_folder_computes_what_the_student_did(export: Export, dataset: Dataset, tmp_path: Path) -> None:
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


def test_batch_norm_is_folded_and_the_manifest_counts_what_is_written(copied: Path) -> None:
    weights = load_file(copied / "weights.safetensors")
    manifest = json.loads((copied / "manifest.json").read_text())
    assert not [name for name in weights if "running" in name]
    assert manifest["batch_norm_folded"]
    assert manifest["cost"]["params"] == sum(value.numel() for value in weights.values())
    written = Architecture.from_json((copied / "architecture.json").read_text())
    rebuilt = build(written).eval()
    rebuilt.load_state_dict(weights)


def test_without_folding_the_trained_weights_are_written_as_they_are(export: Export, tmp_path: Path) -> None:
    found = write_folder(replace(export, fold=False), tmp_path / "student")
    weights = load_file(tmp_path / "student" / "weights.safetensors")
    state = export.module.state_dict()
    assert found.max_difference < 1e-6
    assert set(weights) == set(state)
    assert all(torch.equal(weights[name], state[name]) for name in weights)
    assert Architecture.from_json((tmp_path / "student" / "architecture.json").read_text()) == export.architecture


def test_the_folder_loads_where_nothing_of_ours_can_be_imported(copied: Path) -> None:
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


def test_the_probe_holds_the_students_own_logits(export: Export, dataset: Dataset, copied: Path) -> None:
    probe = load_file(copied / "probe.safetensors")
    assert torch.equal(probe["images"].permute(0, 2, 3, 1), dataset.validation.images)
    torch.testing.assert_close(probe["logits"], predict(export.module, dataset.validation, dataset.normalisation))


def test_a_student_that_is_not_its_architecture_is_not_exported(export: Export, tmp_path: Path) -> None:
    class Doubled(nn.Module):
        def state_dict(self, *args, **kwargs):
            return export.module.state_dict()

        def forward(self, images):
            return 2 * export.module(images)

    with pytest.raises(AutoKDError, match="logits differ"):
        write_folder(replace(export, module=Doubled(), test=None), tmp_path / "student")
    assert list(tmp_path.iterdir()) == []


def test_the_trained_and_the_written_architecture_are_both_named(export: Export, copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    written = Architecture.from_json((copied / "architecture.json").read_text()).digest
    assert (manifest["architecture_digest"], manifest["written_architecture_digest"]) == (
        export.architecture.digest,
        written,
    )
    head = (copied / "model.py").read_text().split('"""')[1]
    assert f"Architecture {written}.\nTrained as architecture {export.architecture.digest}, whose batch norm" in head
