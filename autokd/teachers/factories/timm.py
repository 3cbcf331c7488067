"""Models of timm: `timm:NAME`, a folder that `timm.models.save_for_hf` wrote, or `timm:user/name` on the hub."""

import os
from collections.abc import Sequence
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
        if _source(name, config) == name:
            check_weights(config, _published(name))

    def make(self, name: str, config: TeacherConfig) -> Made:
        """The network with size, mean and deviation of its `pretrained_cfg`."""
        with importing("timm"):
            import timm

        source, arguments = _source(name, config), config.arguments or {}
        network = making(f"timm:{name}", lambda: timm.create_model(source, pretrained=source != name, **arguments))
        return Made(network, _settings(network, arguments.get("in_chans")))


def _source(name: str, config: TeacherConfig) -> str:
    """What timm calls the model."""
    if os.path.isdir(name) or "/" in name:
        return f"local-dir:{model_folder(name, 'timm', config.download)}"
    with importing("timm"):
        import timm

    if not timm.is_model(name):
        architecture = name.partition(".")[0]
        raise InputError(
            f"teacher.factory 'timm:{name}': timm has no such model{nearest_name(architecture, timm.list_models())}."
        )
    return name


def _settings(network: Any, n_channels: int | None) -> dict[str, Any]:
    with importing("timm"):
        from timm.data import resolve_model_data_config

    inputs = resolve_model_data_config(network)
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
    with importing("timm"):
        import timm

    published = timm.get_pretrained_cfg(name)
    repository = published.hf_hub_id if published else None
    return f'"hf:{repository}" with download = true, or a file' if repository else "a file"
