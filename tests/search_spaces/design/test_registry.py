import re
from math import inf, nan
from pathlib import Path

import pytest
from broken_modules import FAILURES, write_broken

from search_spaces.design import registry
from search_spaces.errors import SpaceError
from search_spaces.spaces.nago import Nago
from search_spaces.spaces.randwire import RandWire

BAD, HEADED = (nan, inf, 1e300, 0, -1.0), ("nago", "randwire", "blocks", "sequential")


def test_known_spaces_are_found_with_their_options() -> None:
    assert {"nago", "randwire", "sequential"} <= set(registry.known_spaces())
    assert list(registry.known_spaces()) == sorted(registry.known_spaces())
    found = registry.space("nago", top_nodes=5)
    assert isinstance(found, Nago)
    assert found.fixed["top_nodes"] == 5


def test_a_space_of_your_own_is_named_module_and_class() -> None:
    assert isinstance(registry.space("search_spaces.spaces.randwire:RandWire"), RandWire)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nagoo", "Did you mean 'nago'.*Known: blocks, .*randwire"),
        ("search_spaces.spaces.nago:Nope", "Cannot load"),
        ("no_such_module:Space", "Cannot load"),
        (":", "Cannot load"),
        ("search_spaces.errors:SpaceError", "must be a subclass of"),
        ("__main__:Mine", "'__main__:Mine'.*; define the class first, or move it to a module of its own."),
    ],
)
def test_a_name_that_refers_to_no_space_is_rejected(name: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        registry.space(name)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nago", {"width": "wide"}, "Option `width` of space 'nago' must be float or none or int, but got 'wide'"),
        ("nago", {"max_width": 2.5}, "Option `max_width` of space 'nago' must be int, but got 2.5"),
        ("darts", {"cells": True}, "Option `cells` of space 'darts' must be int, but got True"),
        ("darts", {"cells": 10**9}, "`4 <= cells <= 100` must hold"),
        ("nasbench201", {"pruned": "no"}, "Option `pruned` of space 'nasbench201' must be bool, but got 'no'"),
        ("randwire", {"nodes": 10**6}, "nodes <= 1000` must hold, but got 1000000"),
        ("randwire", {"operation": ["conv"]}, "Option `operation` of space 'randwire' must be str"),
        ("blocks", {"stage1_expansion": True}, "Unknown value of `stage1_expansion` 'True'"),
        ("nago", {"name": 1}, "Unknown dimension of space 'nago' 'name'"),
        *((name, {"width": width}, "`0 < width <= 1000000` must hold") for name in ("nago", "darts") for width in BAD),
        *(
            (name, {"head_ratio": ratio}, f"head_ratio <= 1000000` must hold, but got head_ratio={ratio}")
            for name in HEADED
            for ratio in (nan, inf, 1e306)
        ),
    ],
)
def test_an_option_that_only_the_constructor_knows_is_checked(
    name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(SpaceError, match=re.escape(message)):
        registry.space(name, **options)


def test_whole_numbers_are_numbers_and_none_is_the_default() -> None:
    assert registry.space("nago", width=16, head_ratio=2).width == 16
    assert registry.space("nago", width=None).width is None


@pytest.mark.parametrize("content", FAILURES)
def test_a_module_of_your_own_that_fails_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    name = write_broken(tmp_path, content, monkeypatch)
    with pytest.raises(SpaceError, match=rf"Cannot load the search space '{name}': {FAILURES[content]}\.$"):
        registry.space(name)
    with pytest.raises(SpaceError, match=r"Cannot load the search space '\.x:Y': TypeError"):
        registry.space(".x:Y")


def test_whatever_a_constructor_of_your_own_raises_is_a_space_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(Nago):
        def __init__(self, *, secret: str) -> None:
            raise KeyError(secret)

    monkeypatch.setattr("search_spaces.spaces.nago.Odd", Odd, raising=False)
    with pytest.raises(SpaceError, match=r"cannot be made with the options \{'secret': 'x'\}: 'x'"):
        registry.space("search_spaces.spaces.nago:Odd", secret="x")


def test_a_name_cannot_be_registered_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_SPACES", dict(registry._SPACES))
    registry.register("mine", "search_spaces.spaces.nago:Nago")
    assert isinstance(registry.space("mine"), Nago)
    with pytest.raises(SpaceError, match="already"):
        registry.register("mine", "search_spaces.spaces.randwire:RandWire")


@pytest.mark.parametrize(("name", "target"), [("x", "no_colon"), ("x", "module:"), ("a:b", "module:Class")])
def test_a_registration_needs_a_name_without_colon_and_a_class(name: str, target: str) -> None:
    with pytest.raises(SpaceError, match="name without colon"):
        registry.register(name, target)


@pytest.mark.parametrize("name", registry.known_spaces())
def test_every_space_is_registered_under_its_name(name: str) -> None:
    assert registry.space(name).name == name
