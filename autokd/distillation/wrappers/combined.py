"""Several methods at once: the sum of what each learns from the teacher."""

from collections.abc import Iterator, Sequence

from optuna.distributions import BaseDistribution
from torch import Tensor, nn

from autokd.distillation.base import BatchContext, Method, Outputs
from autokd.errors import InputError

__all__ = ["Combined"]


class Combined(Method):
    """The sum of the methods' teacher losses; the labels weigh what the first method gives them.

    All members see the same outputs, so at most one may look at further views of the samples, and at most one may
    choose the layers whose features all see. The others see the outputs of the samples as they are.

    Args:
        members: At least one.

    Raises:
        InputError: If there is none, or several look at further views or choose the layers.
    """

    name = "combined"

    def __init__(self, members: Sequence[Method]) -> None:
        super().__init__()
        if not members:
            raise InputError("a sum of distillation methods needs at least one.")
        _only_one([member for member in members if member.n_views > 1], "look at further views of the samples")
        _only_one([member for member in members if member.chooses_layers], "choose the layers")
        self._members = nn.ModuleList(members)
        self.needs = frozenset(need for member in members for need in member.needs)
        self.n_views = max(member.n_views for member in members)
        self.chooses_layers = any(member.chooses_layers for member in members)

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
        """Those of the member that chooses them."""
        return max(self.members, key=lambda member: member.chooses_layers).layers(student, teacher, samples)

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Prepare all members."""
        for member in self.members:
            member.prepare(*self._seen(member, student, teacher), labels)

    def label_weight(self, context: BatchContext) -> float:
        """The first member's."""
        return self.members[0].label_weight(context)

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """The sum over the members."""
        losses = [member.teacher_loss(*self._seen(member, student, teacher), context) for member in self.members]
        return sum(losses[1:], start=losses[0])

    def _seen(self, member: Method, student: Outputs, teacher: Outputs) -> tuple[Outputs, Outputs]:
        """The outputs of as many views as the member looks at."""
        if member.n_views == self.n_views:
            return student, teacher
        n = len(student.logits) // self.n_views
        return student.first(n), teacher.first(n)


def _only_one(members: Sequence[Method], what: str) -> None:
    if len(members) > 1:
        names = " and ".join(repr(member.name) for member in members)
        raise InputError(f"only one distillation method of a sum can {what}, but {names} do.")
