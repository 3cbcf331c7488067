"""The panel of a search: the networks that teach beside the teacher."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import compress

from autokd.config.teacher import TeacherConfig
from autokd.errors import InputError, first_line

__all__ = ["Assistant", "Panel", "as_assistant", "weights_of_part"]


@contextmanager
def as_assistant(name: str | None) -> Iterator[None]:
    """Say that errors, in which an assistant is a teacher like others, are of the one with this name, if there is one.

    Raises:
        InputError: In place of one that is raised within.
    """
    try:
        yield
    except InputError as error:
        if name is None:
            raise
        raise InputError(f"assistant {name!r}, as a teacher: {first_line(error)}.") from None


@dataclass(frozen=True)
class Assistant:
    """A network that teaches beside the teacher.

    Attributes:
        name: Its name.
        config: What it is made from.
        digest: Digest of the network.
    """

    name: str
    config: TeacherConfig
    digest: str


@dataclass(frozen=True)
class Panel:
    """The assistants of a search, from the largest to the smallest.

    Attributes:
        assistants: The assistants.
        weights: Weights of the teacher and of each assistant by the rule that found them, see `panel_weights`; empty
            until they are found.
        part_of: Number of assistants of the whole panel, if this is a part of it: how much of the teachers' outputs is
            stored depends on all of them.
    """

    assistants: tuple[Assistant, ...]
    weights: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    part_of: int | None = None

    def of(self, names: Collection[str]) -> "Panel":
        """The panel of some of the assistants; what they and the teacher weigh keeps its proportions.

        Args:
            names: Names of the assistants, at least one.
        """
        chosen = [each.name in names for each in self.assistants]
        return Panel(tuple(compress(self.assistants, chosen)), weights_of_part(self.weights, chosen), self.n_stored)

    @property
    def n_stored(self) -> int:
        """Number of assistants whose outputs the search stores."""
        return self.part_of or len(self.assistants)

    @property
    def digests(self) -> list[str]:
        """Digests of the assistants."""
        return [assistant.digest for assistant in self.assistants]


def weights_of_part(weights: Mapping[str, Sequence[float]], chosen: Sequence[bool]) -> dict[str, tuple[float, ...]]:
    """What the teacher and some of the assistants weigh, by the rule that found it: in the same proportions, 1 in all.

    Args:
        weights: What the teacher and all assistants weigh.
        chosen: Whether an assistant is one of them, for each.
    """
    return {rule: _normalised(list(compress(each, [True, *chosen]))) for rule, each in weights.items()}


def _normalised(weights: Sequence[float]) -> tuple[float, ...]:
    """Weights that add to 1; equal ones if all are 0."""
    total = sum(weights)
    return tuple(weight / total if total else 1 / len(weights) for weight in weights)
