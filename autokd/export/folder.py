"""A trained student as a folder that needs nothing of AutoKD.

| file | holds |
|---|---|
| `model.py` | class `Student` and `preprocess`; imports only torch |
| `weights.safetensors` | its state dict |
| `architecture.json` | its graph in the one architecture format |
| `probe.safetensors` | a few samples with the logits that the trained student gave for them |
| `manifest.json` | metrics, costs, digests, versions, and the command that made it |
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
    """What is exported.

    Attributes:
        architecture: The student's graph.
        module: The student with its weights, for normalised input.
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

    @property
    def origin(self) -> Origin:
        """The search that the student is from."""
        return self.facts.get("search"), self.facts.get("search_began")


def write_folder(export: Export, folder: Path, force: bool = False) -> Verification:
    """Write the folder beside its place, load it in a fresh interpreter, and compare; only then put it in its place.

    Args:
        export: What to write.
        folder: Where; it may be absent, empty, or hold an earlier export of the same search and nothing else.
        force: Whether the export of another search, or one whose files were changed, may be replaced.

    Raises:
        InputError: If the folder may not be written, or cannot.
        AutoKDError: If the reloaded student computes something else.
    """
    with put_in_place(folder, export.origin, force) as temporary:
        _write_parts(export, temporary)
        found = examine(temporary, export.test)
        _write_manifest(export, temporary, found)
        _make_readable(temporary)
    return found


def _write_parts(export: Export, folder: Path) -> None:
    text = source(export.written, note=_provenance(export)) + preprocess_source(export.probe, export.normalisation)
    (folder / "model.py").write_text(text)
    (folder / "architecture.json").write_text(export.written.to_json() + "\n")
    weights = {name: tensor.contiguous() for name, tensor in export.weights.items()}
    save_file(weights, folder / "weights.safetensors")
    with torch.inference_mode():
        logits = export.module.eval()(normalise(export.probe.images, export.normalisation))
    probe = {samples_name(export.probe): channels_first(export.probe), "logits": logits.contiguous()}
    save_file(probe, folder / "probe.safetensors")


def _provenance(export: Export) -> str:
    """What tells a reader of `model.py` why its architecture is not the one that the search names."""
    if export.written.digest == export.architecture.digest:
        return ""
    return f"Trained as architecture {export.architecture.digest}, whose batch norm is folded into the convolutions."


def _write_manifest(export: Export, folder: Path, found: Verification) -> None:
    tested = {"test_accuracy": found.test_accuracy} if found.is_tested else {}
    own = {
        "format": FORMAT,
        "files": {name: file_digest(folder / name) for name in FILES},
        "metrics": export.facts.get("metrics", {}) | tested,
        "batch_norm_folded": export.fold,
        "architecture_digest": export.architecture.digest,
        "written_architecture_digest": export.written.digest,
        "cost": asdict(cost(export.written)),
    }
    write_json(folder / MANIFEST, export.facts | own)


def _make_readable(folder: Path) -> None:
    """Give the usual rights: temporary files and folders are their owner's alone."""
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)
