"""What all sections of a configuration have in common."""

from pydantic import BaseModel, ConfigDict

__all__ = ["Section"]


class Section(BaseModel):
    """Keys of a configuration: unknown ones are refused, and values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
