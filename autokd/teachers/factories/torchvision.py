"""Models of torchvision: `torchvision:NAME`, with the weights of `teacher.weights`."""

from typing import Any

from autokd.config.teacher import TeacherConfig
from autokd.core.spelling import nearest_name
from autokd.errors import InputError
from autokd.teachers.factories.base import Collection, Made, check_weights, importing, making

__all__ = ["Torchvision"]


class Torchvision(Collection):
    """torchvision (https://github.com/pytorch/vision).

    It publishes weights as pickles alone, so it fetches none: `teacher.weights` is a file, of which only the tensors
    are read. Size, mean and deviation are those of the default weights.
    """

    def check(self, name: str, config: TeacherConfig) -> None:
        """Check that there is such an image classifier, with weights."""
        check_weights(config, f"a file: {_published(name, config).url} is torchvision's own")

    def make(self, name: str, config: TeacherConfig) -> Made:
        """The network with the size, mean and deviation of its default weights."""
        inputs = _published(name, config).transforms()
        with making(config):
            network = _models().get_model(name, **(config.arguments or {}))
        settings = {
            "resize": (inputs.crop_size[0],) * 2,
            "mean": tuple(inputs.mean),
            "deviation": tuple(inputs.std),
        }
        return Made(network, settings)


def _models() -> Any:
    with importing("torchvision"):
        from torchvision import models
    return models


def _published(name: str, config: TeacherConfig) -> Any:
    """The weights that torchvision publishes for an image classifier."""
    models = _models()
    known = models.list_models(models)
    if name not in known:
        raise InputError(
            f"teacher.factory {config.factory!r}: there is no such image classifier{nearest_name(name, known)}."
        )
    return models.get_model_weights(name).DEFAULT
