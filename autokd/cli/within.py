"""The option `--within`: further limits that the student to be chosen keeps."""

from collections.abc import Sequence

from autokd.errors import InputError
from autokd.searches.result import SearchResult
from autokd.searches.students import TrainedStudent
from search_spaces.design.budget import LIMITS, Budget
from search_spaces.errors import SpaceError

__all__ = ["call_to_train", "option", "parse_within"]


def parse_within(limits: Sequence[str] | None) -> Budget:
    """The limits of texts such as `macs=3000000`.

    Raises:
        InputError: If one of them is no limit.
    """
    found: dict[str, int] = {}
    for text in limits or ():
        name, _, number = (part.strip() for part in text.partition("="))
        if name not in LIMITS:
            raise InputError(f"--within: {text!r} must be LIMIT=NUMBER with one of {', '.join(LIMITS)}.")
        try:
            found[name] = int(number)
        except ValueError:
            raise InputError(f"--within: {name} must be a whole number, but got {number!r}.") from None
    try:
        return Budget(**found)  # type: ignore[arg-type]
    except SpaceError as error:
        raise InputError(f"--within: {error}") from None


def option(within: Budget) -> str:
    """The options that stand for these limits on a command line."""
    return "".join(f" --within {name}={limit}" for name, limit in within.limits.items())


def call_to_train(result: SearchResult, student: TrainedStudent, within: Budget) -> str | None:
    """What to call for training at full length within further limits; None if the student was.

    Args:
        result: The search.
        student: Its student.
        within: The limits.
    """
    if student.is_final:
        return None
    limits = ", ".join(f"{name}={limit}" for name, limit in within.limits.items())
    return result.way_on("train", option(within), f"within=autokd.Budget({limits})" if limits else "")
