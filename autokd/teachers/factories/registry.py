"""Networks of teachers from the value of `teacher.factory`."""

from collections.abc import Mapping
from typing import Any

from autokd.config.teacher import TeacherConfig
from autokd.core.references import call, resolve
from autokd.errors import InputError
from autokd.teachers.factories.base import Collection, Made
from autokd.teachers.factories.timm import Timm
from autokd.teachers.factories.torchvision import Torchvision
from autokd.teachers.factories.transformers import Transformers

__all__ = ["COLLECTIONS", "check_factory", "make_network", "own_settings"]

COLLECTIONS: Mapping[str, Collection] = {
    "timm": Timm(),
    "torchvision": Torchvision(),
    "transformers": Transformers(),
}


def check_factory(factory: str, config: TeacherConfig) -> None:
    """Check that there is such a function or model, without making a network.

    Raises:
        InputError: If there is not.
    """
    collection, _, name = factory.partition(":")
    if collection in COLLECTIONS:
        COLLECTIONS[collection].check(name, config)
    else:
        resolve(factory, "teacher.factory")


def make_network(config: TeacherConfig) -> Made:
    """The network of `config.factory`, a module or another callable.

    Raises:
        InputError: If there is no such function or model, or it makes no network.
    """
    factory = str(config.factory)
    collection, _, name = factory.partition(":")
    if collection in COLLECTIONS:
        return COLLECTIONS[collection].make(name, config)
    network = call(factory, "teacher.factory", config.arguments)
    if not callable(network):
        raise InputError(
            f"teacher.factory {factory!r} must return a module or a callable, not {type(network).__name__}."
        )
    return Made(network)


def own_settings(config: TeacherConfig, made: Made) -> dict[str, Any]:
    """Values by the network's own configuration, of the keys that the user has not set.

    A `preprocess` of the user takes the place of `channels`, `mean` and `deviation`.
    """
    replaced = {"channels", "mean", "deviation"} if config.preprocess else set()
    return {key: value for key, value in made.settings.items() if getattr(config, key) is None and key not in replaced}
