"""Models of timm: `timm:NAME`, a folder that `timm.models.save_for_hf` wrote, or `timm:user/name` on the hub."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autokd.config.teacher import TeacherConfig
from autokd.core.spelling import nearest_name
from autokd.errors import InputError
from autokd.teachers.factories.base import Collection, Made, check_weights, importing, making, model_folder

__all__ = ["Timm"]


class Timm(Collection):
    """timm (Wightman 2019, https://github.com/huggingface/pytorch-image-models).

    A model of a folder or repository has its weights; one of timm's own names has those of `teacher.weights`. Images
    are resized to the size that the model was trained with, as a whole; timm crops their centre.
    """

    def check(self, name: str, config: TeacherConfig) -> None:
        """Check that there is such a model, with weights."""
        if _folder(name, config) is None:
            check_weights(config, _published(name))

    def make(self, name: str, config: TeacherConfig) -> Made:
        """The network with size, mean and deviation of its `pretrained_cfg`."""
        folder, arguments = _folder(name, config), config.arguments or {}
        source = name if folder is None else f"local-dir:{folder}"
        with making(config):
            network = _timm().create_model(source, pretrained=folder is not None, **arguments)
        return Made(network, _settings(network, arguments.get("in_chans")))


def _timm() -> Any:
    with importing("timm"):
        import timm
    return timm


def _folder(name: str, config: TeacherConfig) -> Path | None:
    """Folder with a model and its weights; None for one of timm's own names."""
    timm = _timm()
    if os.path.isdir(name) or "/" in name:
        return model_folder(name, config)
    if not timm.is_model(name):
        nearest = nearest_name(name.partition(".")[0], timm.list_models())
        raise InputError(f"teacher.factory {config.factory!r}: timm has no such model{nearest}.")
    return None


def _settings(network: Any, n_channels: int | None) -> dict[str, Any]:
    inputs = _timm().data.resolve_model_data_config(network)
    return {
        "resize": tuple(inputs["input_size"][1:]),
        "mean": _of_channels(inputs["mean"], n_channels),
        "deviation": _of_channels(inputs["std"], n_channels),
    }


def _of_channels(values: Sequence[float], n_channels: int | None) -> tuple[float, ...]:
    """One value for each channel: their mean for another number than the model was made for, as timm saves them."""
    if n_channels in (None, len(values)):
        return tuple(map(float, values))
    return (sum(values) / len(values),) * n_channels


def _published(name: str) -> str:
    """Where the weights of one of timm's own names are."""
    published = _timm().get_pretrained_cfg(name)
    repository = published.hf_hub_id if published else None
    return f'"hf:{repository}" with download = true, or a file' if repository else "a file"
