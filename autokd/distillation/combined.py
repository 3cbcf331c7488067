"""Several methods at once: the sum of what each learns from the teacher."""

from collections.abc import Iterator, Sequence

from optuna.distributions import BaseDistribution
from torch import Tensor, nn

from autokd.distillation.base import Lesson, Method, Outputs
from autokd.errors import InputError

__all__ = ["Combined"]


class Combined(Method):
    """The sum of the methods' teacher losses; the labels weigh what the first method gives them.

    Args:
        members: At least one; at most one may look at further views or choose layers, since all see the same outputs.

    Raises:
        InputError: If more do.
    """

    name = "combined"

    def __init__(self, members: Sequence[Method]) -> None:
        super().__init__()
        self._members = nn.ModuleList(members)
        self.needs = frozenset[str]().union(*(member.needs for member in members))  # type: ignore[assignment]
        self.n_views = max(member.n_views for member in members)
        if sum(member.n_views > 1 for member in members) > 1:
            raise InputError("only one method at a time can look at further views of the samples.")

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """None of its own."""
        return {}

    @property
    def members(self) -> list[Method]:
        """The methods, in order."""
        return [member for member in self._members if isinstance(member, Method)]

    def views(self, images: Tensor) -> Tensor:
        """Those of the member that looks at several."""
        return max(self.members, key=lambda member: member.n_views).views(images)

    def layers(
        self, student: nn.Module, teacher: nn.Module, samples: Iterator[Tensor]
    ) -> tuple[Sequence[str], Sequence[str]] | None:
        """Those that the first member with a choice chooses."""
        choices = (member.layers(student, teacher, samples) for member in self.members)
        return next((choice for choice in choices if choice is not None), None)

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Prepare all members."""
        for member in self.members:
            member.prepare(*self._seen(member, student, teacher), labels)

    def label_weight(self, lesson: Lesson) -> float:
        """The first member's."""
        return self.members[0].label_weight(lesson)

    def teacher_loss(self, student: Outputs, teacher: Outputs, lesson: Lesson) -> Tensor:
        """The sum over the members."""
        losses = [member.teacher_loss(*self._seen(member, student, teacher), lesson) for member in self.members]
        return sum(losses[1:], start=losses[0])

    def _seen(self, member: Method, student: Outputs, teacher: Outputs) -> tuple[Outputs, Outputs]:
        """The outputs of as many views as the member looks at."""
        if member.n_views == self.n_views:
            return student, teacher
        n = len(student.logits) // self.n_views
        return student.first(n), teacher.first(n)
