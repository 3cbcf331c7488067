"""The panel of a search: the networks that teach beside the teacher."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from autokd.config.teacher import TeacherConfig

__all__ = ["Assistant", "Panel"]


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
    """

    assistants: tuple[Assistant, ...]
    weights: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def digests(self) -> list[str]:
        """Digests of the assistants."""
        return [assistant.digest for assistant in self.assistants]
