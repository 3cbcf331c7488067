import importlib.util
import json
import os
import py_compile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from autokd.data.dataset import Dataset
from autokd.errors import AutoKDError, InputError
from autokd.export.folder import Export, write_folder
from autokd.export.manifest import FILES
from autokd.export.verification import examine, samples_to_verify, verify_folder
from autokd.training.metrics import predict

# A fresh interpreter that imports torch takes two seconds.
pytestmark = pytest.mark.slow

FORGED = """
import json, pathlib, sys
answer = {"nonce": "0" * 32, "max_difference": 0.0, "largest": 1.0, "correct": 24, "samples": 24}
print(json.dumps(answer), flush=True)
pathlib.Path(sys.argv[2]).write_text(json.dumps(answer))
"""


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_refused(copied: Path, name: str) -> None:
    content = bytearray((copied / name).read_bytes())
    content[-2] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name} was changed since the export"):
        verify_folder(copied)
    (copied / name).unlink()
    with pytest.raises(InputError, match=f"is incomplete: {name} is missing"):
        verify_folder(copied)


def test_changed_weights_are_found_by_their_logits_even_where_the_manifest_agrees(
    copied: Path, sign: Callable[[Path], None]
) -> None:
    weights = load_file(copied / "weights.safetensors")
    weights[next(name for name in weights if name.endswith("bias"))][0] += 0.1
    save_file(weights, copied / "weights.safetensors")
    sign(copied)
    with pytest.raises(AutoKDError, match="the reloaded student's logits differ by"):
        verify_folder(copied)


def test_samples_that_rounding_decides_may_be_classified_otherwise(
    export: Export, dataset: Dataset, tmp_path: Path
) -> None:
    module = deepcopy(export.module)
    with torch.no_grad():
        for parameter in list(module.parameters())[-3:]:  # all logits of a sample become equal
            parameter.zero_()
    write_folder(replace(export, module=module), tmp_path / "student")
    others = replace(dataset.test, labels=torch.zeros_like(dataset.test.labels))
    found = verify_folder(tmp_path / "student", others)
    assert found.undecided == len(others)
    assert found.test_accuracy != verify_folder(tmp_path / "student", dataset.test).test_accuracy


def test_packages_of_the_python_path_are_found(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "beside.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    (copied / "model.py").write_text("import beside\n" + (copied / "model.py").read_text())
    assert examine(copied, None).max_difference < 1e-3


def test_another_test_accuracy_is_found(export: Export, dataset: Dataset, copied: Path) -> None:
    agreeing = replace(dataset.test, labels=predict(export.module, dataset.test, dataset.normalisation).argmax(1))
    with pytest.raises(AutoKDError, match=r"test accuracy is .* here, but was .* at the export"):
        verify_folder(copied, agreeing)


def test_a_model_that_imports_ours_is_refused(copied: Path, sign: Callable[[Path], None]) -> None:
    model = copied / "model.py"
    model.write_text("import search_spaces\n" + model.read_text().replace("from __future__ import annotations\n", ""))
    sign(copied)
    with pytest.raises(AutoKDError, match=r"the exported model does not load: .*search_spaces"):
        verify_folder(copied)


def test_a_folder_that_is_no_export_cannot_be_verified(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no readable manifest.json"):
        verify_folder(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 99, "files": {}, "metrics": {}}')
    with pytest.raises(InputError, match="its format is 99, but this version reads 1"):
        verify_folder(tmp_path)


def test_the_recorded_test_accuracy_is_told_without_test_samples(copied: Path, dataset: Dataset) -> None:
    measured, recorded = verify_folder(copied, dataset.test), verify_folder(copied)
    assert measured.test_accuracy == recorded.test_accuracy is not None
    assert (measured.is_tested, recorded.is_tested) == (True, False)


def test_an_export_without_the_keys_of_today_still_verifies(copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    kept = {name: manifest[name] for name in ("format", "files", "metrics", "search")}
    (copied / "manifest.json").write_text(json.dumps(kept))
    assert verify_folder(copied).max_difference < 1e-4


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (FORGED + "import os; os._exit(0)", r"ended without an answer \(exit code 0\)"),
        (FORGED + "import atexit, os; atexit.register(os._exit, 0); sys.exit(0)", "does not load: SystemExit: 0"),
        ("raise ValueError('a\\nb' * 400)", "does not load: ValueError: a"),
    ],
)
def test_code_that_forges_an_answer_or_gives_none_does_not_pass(
    copied: Path, sign: Callable[[Path], None], code: str, message: str
) -> None:
    (copied / "model.py").write_text(code)
    sign(copied)
    with pytest.raises(AutoKDError, match=message) as caught:
        verify_folder(copied)
    assert "\n" not in str(caught.value)


def test_code_that_does_not_end_is_stopped(copied: Path, sign: Callable[[Path], None]) -> None:
    (copied / "model.py").write_text("while True: pass")
    sign(copied)
    with pytest.raises(AutoKDError, match="no answer within 3 seconds"):
        verify_folder(copied, seconds=3)


def test_cached_bytecode_does_not_stand_in_for_the_source(copied: Path, sign: Callable[[Path], None]) -> None:
    model = copied / "model.py"
    source, times = model.read_text(), model.stat()
    model.write_text("raise SystemExit('bytecode')".ljust(len(source)))
    os.utime(model, ns=(times.st_atime_ns, times.st_mtime_ns))
    py_compile.compile(str(model), cfile=importlib.util.cache_from_source(str(model)))
    model.write_text(source)
    os.utime(model, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert verify_folder(copied).max_difference < 1e-4


def test_logits_of_another_shape_are_no_agreement(copied: Path, sign: Callable[[Path], None]) -> None:
    probe = load_file(copied / "probe.safetensors")
    save_file(probe | {"logits": probe["logits"][:1].clone()}, copied / "probe.safetensors")
    sign(copied)
    with pytest.raises(AutoKDError, match=r"logits are \(21, 3\), but finite ones of \(1, 3\) are recorded"):
        verify_folder(copied)


def test_a_file_that_the_manifest_does_not_name_is_refused(copied: Path) -> None:
    (copied / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds more than an export \(notes.txt\)"):
        verify_folder(copied)


def test_a_link_is_no_file_of_an_export(copied: Path, tmp_path: Path) -> None:
    (copied / "model.py").rename(tmp_path / "elsewhere.py")
    (copied / "model.py").symlink_to(tmp_path / "elsewhere.py")
    with pytest.raises(InputError, match=r"holds more than an export \(model.py\)"):
        verify_folder(copied)


def photos(folder: Path, side: int) -> str:
    """A folder of three classes of grey images, of which some are test images."""
    pixels = np.random.default_rng(0).integers(0, 256, (18, side, side), dtype=np.uint8)
    for number, image in enumerate(pixels):
        place = folder / ("test" if number % 2 else "train") / str(number // 2 % 3)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number}.png")
    return str(folder)


def takes(folder: Path, *shape: int) -> None:
    """Let the manifest of a folder say so, as that of a search's student does."""
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"input": {"shape": shape}}))


def test_images_of_a_folder_get_the_size_that_the_student_was_trained_with(copied: Path, tmp_path: Path) -> None:
    takes(copied, 1, 6, 6)
    test = samples_to_verify(copied, photos(tmp_path / "photos", 12))
    assert test.images.shape == (9, 6, 6, 1)


def test_images_of_another_size_are_refused(copied: Path) -> None:
    takes(copied, 1, 6, 6)
    with pytest.raises(
        InputError, match=r"^the student takes images of 6 x 6 pixels, but those of digits have 8 x 8\.$"
    ):
        samples_to_verify(copied, "digits")


def test_samples_of_another_number_of_channels_are_refused(copied: Path) -> None:
    takes(copied, 3, 8, 8)
    with pytest.raises(InputError, match=r"^the student takes images of 3 channels, but those of digits have 1\.$"):
        samples_to_verify(copied, "digits")
