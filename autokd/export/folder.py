"""A student as a folder that needs nothing of AutoKD: generated source, weights, architecture, facts, and a probe.

| file | holds |
|---|---|
| `model.py` | class `Student` and `preprocess`; imports only torch |
| `weights.safetensors` | its state dict |
| `architecture.json` | its graph in the one architecture format |
| `probe.safetensors` | a few samples with the logits that the trained student gave for them |
| `manifest.json` | metrics, costs, digests, versions, and the command that made it |
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from autokd.core.files import write_json
from autokd.data.dataset import Split
from autokd.data.stream import normalise
from autokd.errors import AutoKDError, InputError
from autokd.export import check
from search_spaces.architecture.cost import cost
from search_spaces.architecture.folding import fold, fold_weights
from search_spaces.architecture.format import Architecture
from search_spaces.networks.source import source

__all__ = [
    "FILES",
    "Export",
    "Verification",
    "check_replaceable",
    "preprocess_source",
    "verify_folder",
    "write_folder",
]

FORMAT = 1
FILES = ("model.py", "weights.safetensors", "architecture.json", "probe.safetensors")
TOLERANCE = 1e-3  # of logits, or of the largest one: between machines' float32 rounding; a wrong weight is far above it

_PREPROCESS = '''

def preprocess({samples}: Tensor) -> Tensor:
    """What the student takes, of {type} {kind}, {axes}."""
    scaled = {samples}.float()
    mean = scaled.new_tensor({mean}).view({view})
    deviation = scaled.new_tensor({deviation}).view({view})
    return {normalised}
'''
_AXES = {
    "images": "batch x channels x height x width",
    "signals": "batch x channels x length",
    "vectors": "batch x features",
}


@dataclass(frozen=True)
class Export:
    """What is exported.

    Attributes:
        architecture: The student's graph.
        module: The student with its weights.
        normalisation: Mean and deviation of each channel or feature.
        probe: Samples whose logits are recorded.
        test: Samples whose accuracy is measured by the exported student, or None.
        facts: Everything else that the manifest says.
        fold: Whether batch norm is folded into the convolutions before it: faster and smaller, but no longer to be
            trained as it was.
    """

    architecture: Architecture
    module: nn.Module
    normalisation: tuple[tuple[float, ...], tuple[float, ...]]
    probe: Split
    test: Split | None
    facts: dict[str, Any]
    fold: bool = True

    @property
    def written(self) -> Architecture:
        """The graph of what is written."""
        return fold(self.architecture) if self.fold else self.architecture

    @property
    def weights(self) -> dict[str, Tensor]:
        """The state dict of what is written."""
        state = {name: tensor.detach().cpu() for name, tensor in self.module.state_dict().items()}
        return fold_weights(self.architecture, state) if self.fold else state


@dataclass(frozen=True)
class Verification:
    """What a fresh interpreter found in an exported folder.

    Attributes:
        max_difference: Largest difference of a logit of the probe from the recorded one.
        test_accuracy: Share of the test samples that it got right, if there were any.
    """

    max_difference: float
    test_accuracy: float | None


def write_folder(export: Export, folder: Path) -> Verification:
    """Write the folder, load it in a fresh interpreter, and compare; only then put it in its place.

    Raises:
        InputError: If there is something at `folder` that is not an earlier export.
        AutoKDError: If the reloaded student computes something else.
    """
    check_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _write_parts(export, temporary)
        found = _examine(temporary, export.test)
        digests = {name: _digest(temporary / name) for name in FILES}
        tested = {} if found.test_accuracy is None else {"test_accuracy": found.test_accuracy}
        metrics = export.facts.get("metrics", {}) | tested
        own = {"format": FORMAT, "files": digests, "metrics": metrics, "batch_norm_folded": export.fold}
        write_json(temporary / "manifest.json", export.facts | own | {"cost": asdict(cost(export.written))})
        _make_readable(temporary)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return found


def check_replaceable(folder: Path) -> None:
    """Nothing, if an export may be written to `folder`.

    Raises:
        InputError: If there is anything but an empty folder or an earlier export with nothing else in it.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: choose another name.")
    found = {entry.name for entry in folder.iterdir()}
    if found:
        _read_manifest(folder)
        if foreign := found - {*FILES, "manifest.json", "__pycache__"}:
            raise InputError(
                f"{folder} holds more than an export ({', '.join(sorted(foreign))}): choose another folder."
            )


def verify_folder(folder: Path, test: Split | None = None) -> Verification:
    """Check every file's digest, and that the student still computes what it did when it was exported.

    Args:
        folder: An exported folder.
        test: Test samples, whose accuracy must be the manifest's.

    Raises:
        InputError: If the folder is incomplete or a file was changed.
        AutoKDError: If the student computes something else.
    """
    manifest = _read_manifest(folder)
    for name, digest in manifest["files"].items():
        if not (folder / name).is_file():
            raise InputError(f"{folder} is incomplete: {name} is missing.")
        if _digest(folder / name) != digest:
            raise InputError(f"{folder / name} was changed since the export: its SHA-256 is not the manifest's.")
    found = _examine(folder, test)
    recorded = manifest["metrics"].get("test_accuracy")
    if found.test_accuracy is not None and recorded is not None and found.test_accuracy != recorded:
        raise AutoKDError(
            f"{folder}: test accuracy is {found.test_accuracy:.4%} here, but was {recorded:.4%} at the export."
        )
    return found


def preprocess_source(split: Split, normalisation: tuple[tuple[float, ...], tuple[float, ...]]) -> str:
    """Source of the function `preprocess`, which does to a batch of such samples, channels first, what training did."""
    mean, deviation = normalisation
    floating = split.images.is_floating_point()
    return _PREPROCESS.format(
        samples=_samples(split),
        type="float32" if floating else "uint8",
        kind=split.kind,
        axes=_AXES[split.kind],
        view=", ".join(("1", "-1", "1", "1")[: split.images.ndim]),
        mean=list(mean),
        deviation=list(deviation),
        normalised="(scaled - mean) / deviation" if floating else "scaled * (1 / (255 * deviation)) - mean / deviation",
    )


def _write_parts(export: Export, folder: Path) -> None:
    text = source(export.written) + preprocess_source(export.probe, export.normalisation)
    (folder / "model.py").write_text(text)
    (folder / "architecture.json").write_text(export.written.to_json() + "\n")
    weights = {name: tensor.contiguous() for name, tensor in export.weights.items()}
    save_file(weights, folder / "weights.safetensors")
    with torch.inference_mode():
        logits = export.module.eval()(normalise(export.probe.images, export.normalisation))
    probe = {_samples(export.probe): _channels_first(export.probe), "logits": logits.contiguous()}
    save_file(probe, folder / "probe.safetensors")


def _make_readable(folder: Path) -> None:
    """Give the usual rights: temporary files and folders are their owner's alone."""
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)


def _examine(folder: Path, test: Split | None) -> Verification:
    """Run `check.py` on the folder in a fresh interpreter."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-I", "-B", str(check.__file__), str(folder.resolve())]
        if test is not None:
            labelled = Path(scratch) / "test.safetensors"
            save_file({_samples(test): _channels_first(test), "labels": test.labels.contiguous()}, labelled)
            command.append(str(labelled))
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise AutoKDError(f"{folder}: the exported model does not load: {lines[-1]}")
    found = json.loads(done.stdout)
    allowed = TOLERANCE * max(1.0, found["largest"])
    if not found["max_difference"] <= allowed:
        raise AutoKDError(
            f"{folder}: the reloaded student's logits differ by {found['max_difference']:.2g} from the trained one's; "
            f"at most {allowed:.2g} is allowed."
        )
    accuracy = found["correct"] / found["samples"] if "samples" in found else None
    return Verification(found["max_difference"], accuracy)


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError):
        raise InputError(f"{folder} is not an exported folder: it has no readable manifest.json.") from None
    if not isinstance(manifest, dict) or not {"format", "files", "metrics"} <= manifest.keys():
        raise InputError(f"{folder} is not an exported folder: its manifest.json is something else's.")
    if manifest["format"] != FORMAT:
        raise InputError(f"{folder}: its format is {manifest['format']!r}, but this version reads {FORMAT}.")
    return dict(manifest)


def _channels_first(split: Split) -> Tensor:
    return split.images.movedim(-1, 1).contiguous()


def _samples(split: Split) -> str:
    """What the samples are called in the folder, as in a user's own data."""
    return "images" if split.kind == "images" else "inputs"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
