"""What tests of factories share: the packages, saved models for colour images and three classes, and such images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_models import collection, save_classifier, save_timm
from torch import Tensor


@pytest.fixture(scope="session")
def timm() -> Any:
    return collection("timm")


@pytest.fixture(scope="session")
def transformers() -> Any:
    return collection("transformers")


@pytest.fixture(scope="session")
def torchvision() -> Any:
    return collection("torchvision")


@pytest.fixture(scope="session")
def timm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of timm for images of 32 x 32."""
    folder = tmp_path_factory.mktemp("timm")
    save_timm(folder, channels=3, classes=3)
    return folder


@pytest.fixture
def classifier(tmp_path: Path) -> Callable[..., Path]:
    """Saves a classifier, and an image processor with the given settings, if any."""

    def save(**settings: Any) -> Path:
        save_classifier(tmp_path, channels=3, classes=3, **settings)
        return tmp_path

    return save


@pytest.fixture
def images() -> Tensor:
    """Colour images, uint8, `batch x channels x height x width`."""
    return torch.randint(0, 256, (4, 3, 6, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
