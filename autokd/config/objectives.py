"""The objectives of a search: the accuracy first, then what a student costs."""

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator

from autokd.config.distinct import distinct

__all__ = ["AGAINST", "Against", "Objectives"]

Against = Literal["params", "macs", "activation_bytes", "memory_bytes"]
AGAINST: tuple[Against, ...] = get_args(Against)
"""Costs that the accuracy can be set against."""

ACCURACY = "accuracy"


def _accuracy_first(names: tuple[str, ...]) -> tuple[str, ...]:
    if names[:1] != (ACCURACY,):
        raise ValueError(f"must begin with {ACCURACY!r}, but got {list(names)}")
    return names


Objectives = Annotated[
    tuple[Literal["accuracy", Against], ...],
    AfterValidator(distinct),
    AfterValidator(_accuracy_first),
]
