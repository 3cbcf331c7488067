"""The section `[panel]`: further networks that teach beside the teacher."""

from itertools import combinations
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from autokd.config.budget import Limit
from autokd.config.distillation import DistillationConfig
from autokd.config.names import NAME
from autokd.config.numbers import Epochs
from autokd.config.ranges import PlainValue, Ranges
from autokd.config.section import Section
from autokd.config.teacher import SOURCES, NetworkConfig, TeacherConfig
from search_spaces.design.budget import Budget

__all__ = ["TEACHER", "AssistantConfig", "PanelConfig", "Path"]

TEACHER = "teacher"
"""Name of the teacher among those from whom an assistant may learn."""
MOST_ASSISTANTS = 6
MOST_SEARCHED = 3  # assistants, whose subsets are 7

Path = Literal["best", "chain", "dense", "search"]


class AssistantConfig(NetworkConfig):
    """A network between teacher and student in size: given as the teacher may be, or drawn and trained here.

    Attributes:
        name: Name of the assistant.
        params: Most parameters of an assistant that is trained before the search, by its workers.
        macs: Most multiply-accumulates of one, for one sample.
        space: Search space from which it is drawn; by default it is a ResNet, as the reference of that name.
        ranges: Narrower ranges for dimensions of the space, or single values that fix them, as in `[space]`. What is
            left open is drawn at random.
    """

    name: Annotated[str, Field(pattern=NAME, max_length=40)]
    params: Limit | None = None
    macs: Limit | None = None
    space: str | None = None
    ranges: Ranges = Field(default_factory=dict)

    @property
    def teacher(self) -> TeacherConfig:
        """The network, as if it were the teacher."""
        return TeacherConfig(**{key: getattr(self, key) for key in NetworkConfig.model_fields})

    @property
    def is_trained(self) -> bool:
        """Whether it is trained before the search; otherwise it is given."""
        return self.source is None

    @property
    def budget(self) -> Budget:
        """The limits within which it is drawn."""
        return Budget(params=self.params, macs=self.macs)

    @model_validator(mode="after")
    def _is_given_or_trained(self) -> Self:
        drawn = [key for key in ("params", "macs", "space", "ranges") if getattr(self, key)]
        if self.source is not None and drawn:
            raise ValueError(f"{drawn[0]} is for an assistant that is trained here, but {self.source!r} is given")
        if self.source is None and not self.budget.limits:
            raise ValueError(f"needs one of {', '.join(SOURCES)}, or params or macs to be drawn and trained here")
        if self.ranges and self.space is None:
            raise ValueError("ranges are for a space, but there is none")
        return self


class PanelConfig(Section):
    """Assistants, which teach beside the teacher by the methods `takd`, `dgkd`, `ces` and `ensemble`.

    Attributes:
        assistants: The assistants, from the largest to the smallest; at most 6.
        path: From whom an assistant that is trained here learns. "best", the default: it is trained once from the
            teacher and from each assistant before it, and the most accurate one is kept. "chain": from the one before
            it. "dense": from the teacher and all before it, by `dgkd`. "search": as with "best", and the search chooses
            by the dimension `path` which of the assistants teach, for at most 3 of them.
        epochs: Length of each of these trainings, which are as those of `[final]` otherwise.
        distillation: How an assistant learns, as in `[distillation]`, with one method and one value for each
            hyper-parameter; by default "kd" with a temperature of 4 and a weight of 0.9.
    """

    assistants: Annotated[tuple[AssistantConfig, ...], Field(min_length=1, max_length=MOST_ASSISTANTS)]
    path: Path | None = None
    epochs: Epochs = 24
    distillation: DistillationConfig | None = None

    @property
    def subsets(self) -> dict[str, tuple[str, ...]]:
        """Names of the assistants that may teach together, by the name of the choice; none without a choice."""
        names = [assistant.name for assistant in self.assistants]
        if self.path != "search" or len(names) == 1:
            return {}
        chosen = (subset for size in range(1, len(names) + 1) for subset in combinations(names, size))
        return {"+".join(subset): subset for subset in chosen}

    @property
    def method(self) -> str:
        """The method by which assistants learn."""
        return (self.distillation or DistillationConfig()).names[0]

    @property
    def settings(self) -> dict[str, PlainValue]:
        """Its hyper-parameters; those that are left out have their defaults."""
        ranges = self.distillation.ranges if self.distillation else {}
        return {name: value for name, value in ranges.items() if not isinstance(value, list)}

    @field_validator("assistants")
    @classmethod
    def _have_names_of_their_own(cls, assistants: tuple[AssistantConfig, ...]) -> tuple[AssistantConfig, ...]:
        names = [assistant.name for assistant in assistants]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"each needs a name of its own, but two are called {twice!r}")
        if TEACHER in names:
            raise ValueError(f"{TEACHER!r} is the teacher's name")
        return assistants

    @field_validator("distillation")
    @classmethod
    def _is_fixed(cls, distillation: DistillationConfig | None) -> DistillationConfig | None:
        if distillation is not None and distillation.methods is not None:
            raise ValueError("methods are for a search, but an assistant learns by one method")
        for name, value in (distillation.ranges if distillation else {}).items():
            if isinstance(value, list):
                raise ValueError(f"ranges.{name} must be one value, but got {value!r}")
        return distillation

    @model_validator(mode="after")
    def _trains_what_is_said(self) -> Self:
        said = [key for key in ("path", "distillation") if getattr(self, key) is not None]
        if said and not any(assistant.is_trained for assistant in self.assistants):
            raise ValueError(f"{said[0]} is for assistants that are trained here, but all are given")
        if self.path == "search" and (n := len(self.assistants)) > MOST_SEARCHED:
            raise ValueError(f'path = "search" is for {MOST_SEARCHED} assistants at most: {n} have {2**n - 1} subsets')
        return self
