"""The contract of a collection of models, and what is common to them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autokd.config.teacher import TeacherConfig
from autokd.core.extras import needs
from autokd.core.hub import hub_folder
from autokd.errors import InputError, first_line
from autokd.teachers.factories.mended import mend_torchvision

__all__ = ["Collection", "Made", "check_weights", "importing", "making", "model_folder"]


@dataclass(frozen=True)
class Made:
    """What a factory made.

    Attributes:
        network: The network, a module or any other callable.
        settings: What the network's own configuration says of keys of `[teacher]`: `channels`, `resize`, `mean`,
            `deviation` and `output`. They apply where the user sets none.
    """

    network: Any
    settings: dict[str, Any] = field(default_factory=dict)


class Collection(ABC):
    """Models that a package knows by name, `teacher.factory = "PACKAGE:NAME"`.

    Both methods raise `InputError` if there is no such model, its package is not installed, or its weights are only in
    a file that would have to be unpickled. Nothing is fetched unless `config.download` is set.
    """

    @abstractmethod
    def check(self, name: str, config: TeacherConfig) -> None:
        """Check what can be told without making the network, and that there are weights for it."""

    @abstractmethod
    def make(self, name: str, config: TeacherConfig) -> Made:
        """The network, called with `config.arguments`, with its own settings."""


@contextmanager
def importing(package: str) -> Iterator[None]:
    """A block that imports the package of a collection.

    Raises:
        InputError: If it is not installed, or cannot be imported.
    """
    try:
        with needs("hubs", "teacher.factory", package):
            mend_torchvision()
            yield
    except InputError:
        raise
    except Exception as error:  # compiled parts of other packages may not fit torch
        raise InputError(f"teacher.factory: {package} cannot be imported: {first_line(error)}.") from error


def check_weights(config: TeacherConfig, where: str) -> None:
    """Check that there are weights for a network that is made without them.

    Args:
        config: Section `[teacher]` of a configuration.
        where: Where there are some, for the error message.

    Raises:
        InputError: If there are none.
    """
    if not config.weights:
        raise InputError(f"teacher.weights is missing for {config.factory!r}: set it to {where}.")


@contextmanager
def making(config: TeacherConfig) -> Iterator[None]:
    """A block in which the package of a collection makes a network.

    Raises:
        InputError: If it fails, which a package can in any way, as with arguments that it does not know.
    """
    try:
        yield
    except Exception as error:
        raise InputError(
            f"teacher.factory {config.factory!r} fails: {type(error).__name__}: {first_line(error)}."
        ) from error


def model_folder(name: str, config: TeacherConfig) -> Path:
    """Folder with the `config.json` and the weights of a model, local or from the hub.

    Args:
        name: A folder, or "user/name" on the hub.
        config: Section `[teacher]` of a configuration.

    Raises:
        InputError: If there is no such folder, or it has no `config.json` or no `.safetensors`.
    """
    folder = hub_folder(name, "teacher.factory", config.download)
    if not (folder / "config.json").exists():
        raise InputError(f"teacher.factory {config.factory!r}: {folder} has no config.json.")
    if not any(folder.glob("model*.safetensors")):
        raise InputError(
            f"teacher.factory {config.factory!r}: {folder} has no model.safetensors, and pickles are never read: save "
            "the model in that format."
        )
    return folder
