"""The section `[distillation]`."""

from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from autokd.config.compatibility import is_recorded
from autokd.config.distinct import distinct
from autokd.config.ranges import Ranges
from autokd.config.section import Section

__all__ = ["DistillationConfig", "DistinctNames"]


def _some_text(text: str, info: ValidationInfo) -> str:
    """Check that a text is not empty, unless it was recorded: earlier versions replaced an empty one by the default."""
    if not text and not is_recorded(info):
        raise ValueError("must be a name, but is empty: omit the key for the default")
    return text


DistinctNames = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(distinct)]


class DistillationConfig(Section):
    """How students learn from the teacher.

    Attributes:
        method: Name of a distillation method, "module:Class" of your own, a composition such as "ctkd+kd", or two in
            turn such as "fitnet>dist"; "kd" by default.
        methods: Several methods among which the search chooses; replaces `method`. Trainings of an epoch or two hardly
            order them as full length does: let the last rung have many.
        ranges: Narrower ranges for dimensions of the method, or single values that fix them, such as "temperature". In
            a composition, the name of the part comes first: "kd.temperature". So does the name of the method if the
            search chooses it: "dkd.beta".
    """

    method: Annotated[str, AfterValidator(_some_text)] | None = None
    methods: DistinctNames | None = None
    ranges: Ranges = Field(default={})

    @model_validator(mode="after")
    def _one_choice(self) -> "DistillationConfig":
        if self.method is not None and self.methods is not None:
            raise ValueError("method and methods exclude each other")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the distillation methods: one, or those among which the search chooses."""
        return self.methods or (self.method or "kd",)
