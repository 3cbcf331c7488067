"""Code of the user's own in a search: spaces, methods, samplers and pruners, which can raise anything, and change."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress

from optuna.distributions import distribution_to_json

from autokd.config.schema import SearchConfig
from autokd.core.references import is_reference, source_digest
from autokd.distillation.registry import components_of
from autokd.errors import AutoKDError, InputError, first_line
from autokd.optimizers.errors import OptimizerError
from search_spaces.design.dimensions import Dimension
from search_spaces.errors import SpaceError

__all__ = [
    "changed_code",
    "check_dimensions",
    "dimension_texts",
    "own_code",
    "own_optimizer",
    "own_sources",
    "own_space",
]


def own_sources(config: SearchConfig) -> dict[str, str]:
    """SHA-256 of the file that defines each space and method of the user's own, by its reference."""
    found = {}
    for reference, what in _own_names(config).items():
        with suppress(InputError):  # it is gone, and what needs it says so
            found[reference] = source_digest(reference, what)
    return found


def changed_code(config: SearchConfig, recorded: Mapping[str, str]) -> list[str]:
    """A line for each own space or method whose file changed since the search began.

    Args:
        config: The search.
        recorded: What `own_sources` said then; empty in searches of earlier versions.
    """
    now, kinds = own_sources(config), _own_names(config)
    return [
        f"{kinds[name]} {name!r} was edited since the search began: trials of before and after may not compare"
        for name in now
        if name in recorded and now[name] != recorded[name]
    ]


def dimension_texts(dimensions: Mapping[str, Dimension]) -> dict[str, str]:
    """Dimensions as text that tells whether they are the same, by their names."""
    return {name: _text(dimension) for name, dimension in dimensions.items()}


def check_dimensions(config: SearchConfig, recorded: Mapping[str, str], dimensions: Mapping[str, Dimension]) -> None:
    """Check that own spaces and methods still have the dimensions with which the search began.

    Args:
        config: The search.
        recorded: What `dimension_texts` said then; empty where there is no such code, and in searches of earlier
            versions.
        dimensions: The dimensions now.

    Raises:
        InputError: If they have others, with which recorded trials make no sense.
    """
    now = dimension_texts(dimensions) if recorded else {}
    if now != recorded:
        names = sorted(name for name in {*now, *recorded} if now.get(name) != recorded.get(name))
        others = ", ".join(f"{name!r}: {_change(recorded.get(name), now.get(name))}" for name in names)
        raise InputError(
            f"{' or '.join(map(repr, _own_names(config)))} was edited since the search began and has other dimensions "
            f"now ({others}): bring the code back, or begin a new search."
        )


@contextmanager
def own_code(name: str | None, error: Callable[[str], Exception]) -> Iterator[None]:
    """A block in which what code of the user's own raises, which can be anything, is an error that names it.

    Errors of ours, and those of code that is not the user's, stay as they are.

    Args:
        name: What the configuration names: a space, a method, which may be composed, a sampler or a pruner.
        error: Makes the error, given the reason in words.
    """
    try:
        yield
    except (AutoKDError, SpaceError, OptimizerError):
        raise
    except Exception as raised:
        if name is None or not any(map(is_reference, components_of(name))):
            raise
        raise error(f"{type(raised).__name__}: {first_line(raised)}") from raised


def own_space(name: str | None) -> AbstractContextManager[None]:
    """A block in which what a user's space raises is a SpaceError; see `own_code`."""
    return own_code(name, lambda reason: SpaceError(f"space {name!r} draws no network: {reason}; see its `blueprint`."))


def own_optimizer(name: str, fails: str) -> AbstractContextManager[None]:
    """A block in which what a user's sampler or pruner raises is an OptimizerError; see `own_code`.

    Args:
        name: What the configuration names.
        fails: What it does not do then, for the message: "proposes no trial".
    """
    return own_code(name, lambda reason: OptimizerError(f"{name!r} {fails}: {reason}"))


def _own_names(config: SearchConfig) -> dict[str, str]:
    """What each reference names, in words."""
    methods = [*config.distillation.names, *([config.panel.method] if config.panel else ())]
    names = {
        **dict.fromkeys(config.space.listed, "space"),
        **dict.fromkeys((part for name in methods for part in components_of(name)), "distillation method"),
    }
    return {name: what for name, what in names.items() if is_reference(name)}


def _change(before: str | None, now: str | None) -> str:
    return "new" if before is None else "gone" if now is None else "another range"


def _text(dimension: Dimension) -> str:
    text: str = distribution_to_json(dimension.distribution)
    return f"{text} if {dimension.parent} in {list(dimension.values)}" if dimension.parent else text
