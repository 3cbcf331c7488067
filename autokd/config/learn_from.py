"""From which earlier searches a search learns."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ValidationInfo

from autokd.config.distinct import distinct

__all__ = ["LearnFrom", "is_file"]


def is_file(name: str) -> bool:
    """Whether what is learnt from is a file, not a search."""
    return name.endswith(".json")


def _checked(value: Any, info: ValidationInfo) -> Any:
    """The names, or "all"; None for "none". Messages are one line; pydantic's own has one for each type."""
    is_list = isinstance(value, list | tuple) and bool(value) and all(isinstance(name, str) for name in value)
    if not is_list and value not in (None, "all", "none"):
        raise ValueError(f'must be "all", "none" or a list of names of searches and of .json files, but got {value!r}')
    if value not in (None, "none") and (optimizer := info.data.get("name")) != "trust-region":
        raise ValueError(f'needs name = "trust-region", but got {optimizer!r}')
    return None if value == "none" else distinct(tuple(value)) if is_list else value


LearnFrom = Annotated[
    Literal["all"] | tuple[str, ...] | None,
    BeforeValidator(_checked, json_schema_input_type=Literal["all", "none"] | tuple[str, ...]),
]
