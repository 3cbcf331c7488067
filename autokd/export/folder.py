"""Writing a trained student to a folder that does not need AutoKD.

| file | holds |
|---|---|
| `model.py` | class `Student` and `preprocess`; imports only torch |
| `weights.safetensors` | its state dict |
| `architecture.json` | its graph in the one architecture format |
| `probe.safetensors` | a few samples with the logits of the trained student |
| `README.md` | its model card, if it is for a repository on a hub |
| `manifest.json` | metrics, costs, digests, versions, and the command that began its search |
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from autokd.core.files import write_json
from autokd.data.dataset import Split
from autokd.data.stream import normalise
from autokd.export.card import CARD, Card
from autokd.export.manifest import FILES, FORMAT, MANIFEST
from autokd.export.preprocess import preprocess_source, samples_name
from autokd.export.replacement import Origin, put_in_place
from autokd.export.verification import Verification, channels_first, examine, file_digest
from search_spaces.architecture.cost import cost
from search_spaces.architecture.folding import fold, fold_weights
from search_spaces.architecture.format import Architecture
from search_spaces.networks.source import source

__all__ = ["Export", "write_folder"]


@dataclass(frozen=True)
class Export:
    """A student to export.

    Attributes:
        architecture: Architecture of the student.
        module: Network with the trained weights, for normalised input.
        normalisation: Mean and deviation of each channel or feature.
        probe: Samples whose logits are recorded.
        test: Samples for the test accuracy of the exported student; None if it is not to be tested.
        facts: Further contents of the manifest.
        fold: Whether batch norm is folded into the convolutions, which makes the student faster and smaller, but no
            longer trainable as before.
        card: Model card of the repository that the folder is for; None without one.
    """

    architecture: Architecture
    module: nn.Module
    normalisation: tuple[tuple[float, ...], tuple[float, ...]]
    probe: Split
    test: Split | None
    facts: dict[str, Any]
    fold: bool = True
    card: Card | None = None

    @property
    def written(self) -> Architecture:
        """Architecture that is written."""
        return fold(self.architecture) if self.fold else self.architecture

    @property
    def is_folded(self) -> bool:
        """Whether there was batch norm to fold."""
        return self.written.digest != self.architecture.digest

    @property
    def weights(self) -> dict[str, Tensor]:
        """State dict that is written."""
        state = {name: tensor.detach().cpu() for name, tensor in self.module.state_dict().items()}
        return fold_weights(self.architecture, state) if self.fold else state

    @property
    def origin(self) -> Origin:
        """Search that found the student."""
        return self.facts.get("search"), self.facts.get("search_began")


def write_folder(export: Export, folder: Path, force: bool = False) -> Verification:
    """Write a folder, check it in a fresh interpreter, and only then move it to its place.

    Args:
        export: The student.
        folder: Folder to write. It may be missing or empty, or hold an earlier export of the same search.
        force: Whether to also replace an export of another search, or one whose files were changed.

    Raises:
        InputError: If the folder holds anything else, or cannot be written.
        AutoKDError: If the reloaded student computes something else.
    """
    with put_in_place(folder, export.origin, force) as temporary:
        _write_parts(export, temporary)
        found = examine(temporary, export.test)
        _write_manifest(export, temporary, found)
        _make_readable(temporary)
    return found


def _write_parts(export: Export, folder: Path) -> None:
    channels = export.facts.get("input", {}).get("channels")
    network = source(export.written, note=_provenance(export))
    (folder / "model.py").write_text(network + preprocess_source(export.probe, export.normalisation, channels))
    (folder / "architecture.json").write_text(export.written.to_json() + "\n")
    weights = {name: tensor.contiguous() for name, tensor in export.weights.items()}
    save_file(weights, folder / "weights.safetensors")
    with torch.inference_mode():
        logits = export.module.eval()(normalise(export.probe.images, export.normalisation))
    probe = {samples_name(export.probe.kind): channels_first(export.probe), "logits": logits.contiguous()}
    save_file(probe, folder / "probe.safetensors")


def _provenance(export: Export) -> str:
    """Note in `model.py` that names the trained architecture if the written one differs."""
    if not export.is_folded:
        return ""
    return f"Trained as architecture {export.architecture.digest}, whose batch norm is folded into the convolutions."


def _write_manifest(export: Export, folder: Path, found: Verification) -> None:
    tested = {"test_accuracy": found.test_accuracy} if found.is_tested else {}
    own = {
        "format": FORMAT,
        "metrics": export.facts.get("metrics", {}) | tested,
        "batch_norm_folded": export.is_folded,
        "architecture_digest": export.architecture.digest,
        "written_architecture_digest": export.written.digest,
        "cost": asdict(cost(export.written)),
    }
    contents, files = export.facts | own, list(FILES)
    if export.card:
        (folder / CARD).write_text(export.card.text(contents))
        files.append(CARD)
    write_json(folder / MANIFEST, contents | {"files": {name: file_digest(folder / name) for name in files}})


def _make_readable(folder: Path) -> None:
    """Set the usual permissions, since only the owner may read temporary files and folders."""
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)
