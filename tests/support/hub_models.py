"""Models and data as the packages of the hubs save them; tests are skipped without these packages."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from autokd.data.dataset import Dataset, Split
from autokd.teachers.factories.mended import mend_torchvision

__all__ = [
    "COMMIT",
    "as_table",
    "as_tables",
    "collection",
    "package",
    "pictures",
    "put_in_cache",
    "save_classifier",
    "save_timm",
]

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PARTS = {"train": "train", "validation": "validation", "test": "test"}


def package(name: str) -> Any:
    """A package of the hubs, which is imported."""
    return pytest.importorskip(name, reason=f"{name} is not installed: pip install 'autokd[hubs]'")


def collection(name: str) -> Any:
    """A package of models, which may import torchvision."""
    mend_torchvision()
    return package(name)


def put_in_cache(cache: Path, repository: str, files: Path, revisions: Sequence[str] = ("main",)) -> Path:
    """Lay a folder out as `huggingface_hub` caches a repository of models, and return its only snapshot, a link.

    Args:
        cache: Folder of the cache.
        repository: "user/name".
        files: The folder.
        revisions: Names of the only commit.
    """
    place = cache / f"models--{repository.replace('/', '--')}"
    for folder in ("refs", "snapshots"):
        (place / folder).mkdir(parents=True)
    for revision in revisions:
        (place / "refs" / revision).write_text(COMMIT)
    (place / "snapshots" / COMMIT).symlink_to(files)
    return place / "snapshots" / COMMIT


def save_timm(folder: Path, channels: int, classes: int) -> None:
    """Save a model of timm with random weights for images of 32 x 32, with mean and deviation of its own."""
    timm = collection("timm")
    network = timm.create_model("test_resnet", num_classes=classes, in_chans=channels)
    own = {"mean": (0.5, 0.4, 0.3)[:channels], "std": (0.2, 0.3, 0.4)[:channels]}
    network.pretrained_cfg.update(input_size=(channels, 32, 32), **own)
    timm.models.save_for_hf(network, folder, safe_serialization=True)


def save_classifier(
    folder: Path, channels: int, classes: int, processor: str = "ViTImageProcessor", **settings: Any
) -> None:
    """Save an image classifier of transformers with random weights, with an image processor if it has settings."""
    transformers = collection("transformers")
    shape = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "layer_type": "basic"}
    config = transformers.ResNetConfig(num_channels=channels, num_labels=classes, **shape)
    transformers.AutoModelForImageClassification.from_config(config).save_pretrained(folder)
    if settings:
        getattr(transformers, processor)(**settings).save_pretrained(folder)


def pictures(split: Split) -> list[Any]:
    """The grey images of a split, as pillow's."""
    return [package("PIL.Image").fromarray(image[:, :, 0].numpy()) for image in split.images]


def as_table(split: Split, classes: tuple[str, ...], **more: Any) -> Any:
    """A `datasets.Dataset` with columns `picture` and `kind`, and more ones by a feature and one value for all rows."""
    datasets = package("datasets")
    features = {"picture": datasets.Image(), "kind": datasets.ClassLabel(names=list(classes))}
    features |= {name: feature for name, (feature, _) in more.items()}
    values = {"picture": pictures(split), "kind": split.labels.tolist()}
    values |= {name: [value] * len(split) for name, (_, value) in more.items()}
    return datasets.Dataset.from_dict(values, features=datasets.Features(features))


def as_tables(dataset: Dataset, names: Mapping[str, str] = PARTS, **more: Any) -> Any:
    """A `datasets.DatasetDict` with the splits that have a name."""
    tables = {name: as_table(dataset.splits[part], dataset.class_names, **more) for part, name in names.items()}
    return package("datasets").DatasetDict(tables)
