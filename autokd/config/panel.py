"""The section `[panel]`: further networks that teach beside the teacher."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from autokd.config.teacher import SOURCES, NetworkConfig, TeacherConfig

__all__ = ["AssistantConfig", "PanelConfig"]

MOST_ASSISTANTS = 6


class AssistantConfig(NetworkConfig):
    """A network between teacher and student in size, given as the teacher may be.

    Attributes:
        name: Name of the assistant.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=40)]

    @property
    def teacher(self) -> TeacherConfig:
        """The network, as if it was the teacher."""
        return TeacherConfig(**{key: getattr(self, key) for key in NetworkConfig.model_fields})

    @model_validator(mode="after")
    def _has_a_source(self) -> Self:
        if self.source is None:
            raise ValueError(f"one of {', '.join(SOURCES)} is missing")
        return self


class PanelConfig(BaseModel):
    """Assistants, which teach beside the teacher by the methods `takd`, `dgkd`, `ces` and `ensemble`.

    Attributes:
        assistants: The assistants, from the largest to the smallest; at most 6.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    assistants: Annotated[tuple[AssistantConfig, ...], Field(min_length=1, max_length=MOST_ASSISTANTS)]

    @field_validator("assistants")
    @classmethod
    def _have_names_of_their_own(cls, assistants: tuple[AssistantConfig, ...]) -> tuple[AssistantConfig, ...]:
        names = [assistant.name for assistant in assistants]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"each needs a name of its own, but two are called {twice!r}")
        return assistants
