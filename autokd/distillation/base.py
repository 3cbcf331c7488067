"""The contract of a distillation method, and the registry of methods."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from optuna.distributions import BaseDistribution
from torch import Tensor

from autokd.errors import InputError
from autokd.names import is_reference, nearest, resolve

__all__ = ["Method", "TeacherOutputs", "method_class"]


@dataclass(frozen=True)
class TeacherOutputs:
    """What the teacher says of a batch. Nothing in it carries a gradient.

    Attributes:
        logits: float32, `batch x classes`.
    """

    logits: Tensor


class Method(ABC):
    """A way to learn from a teacher: a pure loss with its hyper-parameters.

    Every implementation must hold:
        * `loss` is a function of its arguments and the constructor's settings only; the mean over the batch.
        * It is finite for finite inputs, works on every device, and sends no gradient into the teacher.
        * The constructor takes exactly the names of `distributions()`, and rejects values that make no sense.
    """

    name: ClassVar[str]

    @staticmethod
    @abstractmethod
    def distributions() -> dict[str, BaseDistribution]:
        """The hyper-parameters a search may choose, with their widest sensible ranges."""

    @abstractmethod
    def loss(self, student_logits: Tensor, teacher: TeacherOutputs, labels: Tensor) -> Tensor:
        """What training minimises, a scalar.

        Args:
            student_logits: float32, `batch x classes`.
            teacher: The teacher's outputs for the same batch.
            labels: int64, `batch`.
        """


def method_class(name: str) -> type[Method]:
    """The method of that name, or the user's own as "module:Class".

    Raises:
        InputError: If there is none.
    """
    from autokd.distillation.kd import KD

    known: dict[str, type[Method]] = {KD.name: KD}
    if is_reference(name):
        found = resolve(name, "distillation.method")
        if isinstance(found, type) and issubclass(found, Method):
            return found
        raise InputError(f"distillation.method {name!r} must be a subclass of autokd.distillation.Method.")
    if name not in known:
        raise InputError(
            f"distillation.method must be one of {', '.join(known)} or `module:Class`, "
            f"but got {name!r}{nearest(name, known)}."
        )
    return known[name]
