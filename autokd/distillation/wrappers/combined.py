"""Several methods at once: the sum of their teacher losses."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from optuna.distributions import BaseDistribution
from torch import Tensor, nn

from autokd.distillation.base import BatchContext, Method, Outputs
from autokd.distillation.recruits import Recruits
from autokd.errors import InputError

__all__ = ["Combined"]


class Combined(Method):
    """Sum of the teacher losses of several methods; the weight of the labels is the first method's.

    All members use the same outputs. So at most one may use further views of the samples, and at most one may choose
    the layers whose features all members use, which none may compare with those of a copy of the teacher then. Members
    with a single view get the outputs of the samples themselves.

    Args:
        members: The methods, at least one.

    Raises:
        InputError: If there is no member, several use further views or choose the layers, or one chooses the layers and
            another compares feature maps of a copy of the teacher.
    """

    name = "combined"

    def __init__(self, members: Sequence[Method]) -> None:
        super().__init__()
        if not members:
            raise InputError("a sum of distillation methods needs at least one method, but got none.")
        _only_one([member for member in members if member.n_views > 1], "use further views of the samples")
        _only_one([member for member in members if member.chooses_layers], "choose the layers")
        _check_layers(list(_single(members)))
        self._members = nn.ModuleList(members)
        self.needs = frozenset(need for member in members for need in member.needs)
        self.n_views = max(member.n_views for member in members)
        self.chooses_layers = any(member.chooses_layers for member in members)
        self.remembers_samples = any(member.remembers_samples for member in members)
        self.n_companions = sum(member.n_companions for member in members)
        self.copies_teacher = any(member.copies_teacher for member in members)
        self.learns_from_panel = any(member.learns_from_panel for member in members)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Empty: the members have hyper-parameters, the sum has none."""
        return {}

    @property
    def members(self) -> list[Method]:
        """The methods, in order."""
        return [member for member in self._members if isinstance(member, Method)]

    @property
    def companion_rates(self) -> Mapping[nn.Module, float]:
        """Companions of all members, each with the factor on its learning rate."""
        return {companion: rate for member in self.members for companion, rate in member.companion_rates.items()}

    def recruit(self, recruits: Recruits) -> None:
        """Recruit those of all members, no two of them with the same initial weights."""
        first = 0
        for member in self.members:
            member.recruit(recruits.after(first))
            first += member.n_companions

    def companion_outputs(self, samples: Tensor) -> tuple[Outputs, ...]:
        """Outputs of all members' companions."""
        return tuple(outputs for member in self.members for outputs in member.companion_outputs(samples))

    def weigh(self, weights: Mapping[str, Sequence[float]]) -> None:
        """Tell all members."""
        for member in self.members:
            member.weigh(weights)

    def views(self, images: Tensor) -> Tensor:
        """Views of the member that uses several, if any."""
        return max(self.members, key=lambda member: member.n_views).views(images)

    def layers(
        self, student: nn.Module, teacher: nn.Module, samples: Iterator[Tensor]
    ) -> tuple[Sequence[str], Sequence[str]] | None:
        """Layers chosen by the member that does so."""
        return max(self.members, key=lambda member: member.chooses_layers).layers(student, teacher, samples)

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Prepare all members."""
        for member in self.members:
            member.prepare(*self._outputs_for(member, student, teacher), labels)

    def label_weight(self, context: BatchContext) -> float:
        """Weight of the first active member."""
        return self.active(context)[0].label_weight(context)

    def active(self, context: BatchContext) -> list[Method]:
        """Members that teach at this point of the training: all of them."""
        return self.members

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """Sum of the active members' teacher losses."""
        losses = [
            member.teacher_loss(*self._outputs_for(member, student, teacher), self._context_for(member, context))
            for member in self.active(context)
        ]
        return sum(losses[1:], start=losses[0])

    def _context_for(self, member: Method, context: BatchContext) -> BatchContext:
        """The context with the member's own companions."""
        first = sum(other.n_companions for other in self.members[: self.members.index(member)])
        return replace(context, companions=context.companions[first : first + member.n_companions])

    def _outputs_for(self, member: Method, student: Outputs, teacher: Outputs) -> tuple[Outputs, Outputs]:
        """Outputs for as many views as the member uses."""
        if member.n_views == self.n_views:
            return student, teacher
        n = len(student.logits) // self.n_views
        return student.first(n), teacher.first(n)


def _single(members: Iterable[Method]) -> Iterator[Method]:
    """The members, and those of sums among them in place of these."""
    for member in members:
        yield from _single(member.members) if isinstance(member, Combined) else [member]


def _check_layers(members: Sequence[Method]) -> None:
    """Raise if maps of the student at chosen layers would be compared with those of a copy at others."""
    choosing = [member.name for member in members if member.chooses_layers]
    comparing = [member.name for member in members if member.copies_teacher and "features" in member.needs]
    if choosing and comparing:
        raise InputError(
            f"distillation method {choosing[0]!r} chooses layers of student and teacher, not those of the teacher's "
            f"copy that {comparing[0]!r} compares."
        )


def _only_one(members: Sequence[Method], what: str) -> None:
    if len(members) > 1:
        names = " and ".join(repr(member.name) for member in members)
        raise InputError(f"only one of several distillation methods may {what}, but {names} do.")
