"""The contract of a distillation method."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from optuna.distributions import BaseDistribution
from torch import Tensor

__all__ = ["Method", "TeacherOutputs"]


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
