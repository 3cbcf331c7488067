"""Registry of search spaces by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from inspect import signature
from typing import Any, get_args, get_type_hints

from search_spaces.design.choice import SpaceChoice
from search_spaces.design.space import Space
from search_spaces.errors import SpaceError, unknown

__all__ = ["known_spaces", "register", "space", "space_of"]

_SPACES = {
    "blocks": "search_spaces.spaces.blocks:Blocks",
    "darts": "search_spaces.spaces.darts:Darts",
    "enas-macro": "search_spaces.spaces.enas_macro:EnasMacro",
    "enas-micro": "search_spaces.spaces.enas_micro:EnasMicro",
    "like-teacher": "search_spaces.spaces.like_teacher:LikeTeacher",
    "nago": "search_spaces.spaces.nago:Nago",
    "nasbench101": "search_spaces.spaces.nasbench101:NasBench101",
    "nasbench201": "search_spaces.spaces.nasbench201:NasBench201",
    "networkx": "search_spaces.spaces.networkx_graphs:NetworkxGraphs",
    "randwire": "search_spaces.spaces.randwire:RandWire",
    "sequential": "search_spaces.spaces.sequential:Sequential",
}


def space(name: str, /, **options: Any) -> Space:
    """The search space of a name, with options, as in `space("nago", top_nodes=(3, 6))`.

    Args:
        name: A known name, or `module:Class` of your own space.
        **options: Arguments of the space's constructor.

    Raises:
        SpaceError: If the name is unknown, or does not refer to a subclass of `Space`.
    """
    target = name if ":" in name else _SPACES.get(name)
    if target is None:
        raise unknown("search space", name, _SPACES)
    module, _, attribute = target.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (Exception, SystemExit) as error:  # a user's module can fail in any way
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        hint = "; define the class first, or move it to a module of its own" if module == "__main__" else ""
        raise SpaceError(f"Cannot load the search space {target!r}: {reason}{hint}.") from error
    if not (isinstance(found, type) and issubclass(found, Space)):
        raise SpaceError(
            f"A search space must be a subclass of `search_spaces.design.space.Space`, but {target!r} is {found!r}."
        )
    return _built(found, name, options)


def space_of(names: Sequence[str], ranges: Mapping[str, Any]) -> Space:
    """The search space of a name, or the choice among those of several.

    Args:
        names: Names as in `space`, at least one.
        ranges: Options of the space. If there are several, the name of its space comes first: "nago.top_nodes".

    Raises:
        SpaceError: If a space is unknown, or an option is of none of them or is refused.
    """
    if len(names) == 1:
        return space(names[0], **ranges)
    options: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in ranges.items():
        owner = max((name for name in names if key.startswith(f"{name}.")), key=len, default=None)
        if owner is None:
            raise SpaceError(
                f"With several spaces, the name of a range must begin with one of {', '.join(f'{n}.' for n in names)}, "
                f"but got {key!r}."
            )
        options[owner][key.removeprefix(f"{owner}.")] = value
    return SpaceChoice({name: space(name, **own) for name, own in options.items()})


def register(name: str, target: str) -> None:
    """Register the class `module:Class` under a name; it is imported when it is first used.

    Raises:
        SpaceError: If the name is taken, or the target is not written `module:Class`.
    """
    if name in _SPACES:
        raise SpaceError(
            f"A search space's name must be new, but {name!r} is already {_SPACES[name]!r}. Choose another name."
        )
    if not all(target.partition(":")) or ":" in name:
        raise SpaceError(
            f"A name without colon must be registered for a `module:Class`, but got {name!r} for {target!r}."
        )
    _SPACES[name] = target


def _built(kind: type[Space], name: str, options: Mapping[str, Any]) -> Space:
    """The space with these options, whatever a user's constructor raises for them."""
    for option, wanted in _option_types(kind).items():
        value = options.get(option)
        if option in options and (not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted)):
            names = " or ".join("none" if each is type(None) else each.__name__ for each in wanted)
            raise SpaceError(f"Option `{option}` of space {name!r} must be {names}, but got {value!r}.")
    try:
        return kind(**options)
    except SpaceError:
        raise
    except Exception as error:
        text = str(error) or type(error).__name__
        raise SpaceError(f"Space {name!r} cannot be made with the options {dict(options)}: {text}.") from error


def _option_types(kind: type[Space]) -> dict[str, tuple[type, ...]]:
    """The types of a constructor's plain options by name; a whole number is a float, too."""
    try:
        hints = get_type_hints(kind.__init__)
    except NameError:  # a user's annotations need not be importable
        return {}
    keywords = {name for name, each in signature(kind).parameters.items() if each.kind is each.KEYWORD_ONLY}
    types = {name: get_args(hint) or (hint,) for name, hint in hints.items() if name in keywords}
    plain = {name: each for name, each in types.items() if set(each) <= {bool, int, float, str, type(None)}}
    return {name: (*each, int) if float in each else each for name, each in plain.items()}


def known_spaces() -> tuple[str, ...]:
    """The known names, sorted."""
    return tuple(sorted(_SPACES))
