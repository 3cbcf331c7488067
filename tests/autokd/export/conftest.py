"""What tests of exports share: a small trained student and its exported folder."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from autokd.data.dataset import Dataset
from autokd.data.stream import normalise
from autokd.export.folder import Export, write_folder
from autokd.export.manifest import FILES
from search_spaces.architecture.format import Architecture, Node
from search_spaces.networks.network import build

NODES = (
    Node("input", (), 3),
    Node("conv3x3_bn", (0,), 4, stride=2),
    Node("relu_sepconv3x3_bn", (1,), 4),
    Node("classifier", (1, 2), 3, merge="weighted_sum"),
)
ARCHITECTURE = Architecture((3, 6, 6), 3, NODES)


@pytest.fixture(scope="session")
def dataset(make_dataset: Callable[..., Dataset]) -> Dataset:
    return make_dataset(channels=3)


@pytest.fixture(scope="session")
def network(dataset: Dataset) -> nn.Module:
    """With statistics that batch norm has seen, and weights that tell classes apart."""
    network = build(ARCHITECTURE, seed=3)
    with torch.no_grad():
        network(normalise(dataset.train.images, dataset.normalisation))
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)), alpha=0.3)
    return network.eval()


@pytest.fixture(scope="session")
def export(dataset: Dataset, network: nn.Module) -> Export:
    facts = {"search": "first", "metrics": {"accuracy": 0.5}}
    return Export(ARCHITECTURE, network, dataset.normalisation, dataset.validation, dataset.test, facts)


@pytest.fixture(scope="session")
def exported(export: Export, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The student's folder; to be copied, not changed."""
    folder = tmp_path_factory.mktemp("exported") / "student"
    write_folder(export, folder)
    return folder


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    """A copy of the student's folder."""
    return Path(shutil.copytree(exported, tmp_path / "student"))


@pytest.fixture(scope="session")
def sign() -> Callable[[Path], None]:
    """Makes a folder's manifest agree with its files again, as a careful forger would."""

    def run(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["files"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}
        (folder / "manifest.json").write_text(json.dumps(manifest))

    return run
