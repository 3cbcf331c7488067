"""Tiny models with random weights, saved as the packages of the hubs save them; tests are skipped without these."""

from pathlib import Path
from typing import Any

import pytest

from autokd.teachers.factories.mended import mend_torchvision

__all__ = ["package", "save_classifier", "save_timm"]


def package(name: str) -> Any:
    """A package of the hubs, which is imported."""
    mend_torchvision()
    return pytest.importorskip(name, reason=f"{name} is not installed: pip install 'autokd[hubs]'")


def save_timm(folder: Path, channels: int, classes: int) -> None:
    """Save a model of timm for images of 32 x 32, with mean and deviation of its own."""
    timm = package("timm")
    network = timm.create_model("test_resnet", num_classes=classes, in_chans=channels)
    own = {"mean": (0.5, 0.4, 0.3)[:channels], "std": (0.2, 0.3, 0.4)[:channels]}
    network.pretrained_cfg.update(input_size=(channels, 32, 32), **own)
    timm.models.save_for_hf(network, folder, safe_serialization=True)


def save_classifier(folder: Path, channels: int, classes: int, **settings: Any) -> None:
    """Save an image classifier of transformers, and an image processor with these settings if there are any."""
    transformers = package("transformers")
    shape = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "layer_type": "basic"}
    config = transformers.ResNetConfig(num_channels=channels, num_labels=classes, **shape)
    transformers.AutoModelForImageClassification.from_config(config).save_pretrained(folder)
    if settings:
        transformers.ViTImageProcessor(**settings).save_pretrained(folder)
