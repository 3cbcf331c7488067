"""Base of the methods that learn from a panel: the teacher, and assistants between it and the student."""

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor

from autokd.distillation.base import BatchContext, LogitMethod, Method, Outputs, Wrapper
from autokd.errors import InputError

__all__ = ["PanelWrapper"]


class PanelWrapper(Wrapper):
    """The inner method with teachers chosen from the panel, or made of it; the sum of its losses if they are several.

    A panel consists of the teacher and its assistants, `teacher.others`, from the largest network to the smallest. This
    wrapper stands before those of logits: `ces+ctkd+kd`.

    Args:
        inner: A method that compares logits.

    Raises:
        InputError: If `inner` is not a `LogitMethod`.
    """

    inner: LogitMethod
    learns_from_panel = True

    def __init__(self, inner: Method) -> None:
        if not isinstance(inner, LogitMethod):
            raise InputError(
                f"distillation method {self.name!r} wraps one that compares logits, but {inner.name!r} does not: "
                f"{self._way_out(inner)}."
            )
        super().__init__(inner)

    def _way_out(self, inner: Method) -> str:
        """What to write in place of this wrapper around a method that it cannot wrap."""
        if isinstance(inner, PanelWrapper):
            return "choose one of the two"
        if isinstance(inner, Wrapper) and not inner.inner_is_optional:
            return f"write `{inner.name}+{self.name}+...`"
        return f"write `{self.name}+kd`, or `{self.name}+kd+{inner.name}` for the sum of both"

    @abstractmethod
    def teachers(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Sequence[Outputs]:
        """Outputs of the teachers of a batch, at least one; their logits only.

        Args:
            student: The student's outputs.
            teacher: The teacher's outputs for the same samples, with those of its assistants.
            context: Labels, indices and progress of the batch.
        """

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Prepare the inner method.

        Raises:
            InputError: If the teacher has no assistants.
        """
        if not teacher.others:
            raise InputError(f"distillation method {self.name!r} learns from assistants, too, but there are none.")
        super().prepare(student, teacher, labels)

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """Sum of the inner method's losses with respect to each of `teachers`."""
        first, *others = self.teachers(student, teacher, context)
        loss = self.inner.teacher_loss(student, first, context)
        for other in others:
            loss = loss + self.inner.teacher_loss(student, other, context)
        return loss
