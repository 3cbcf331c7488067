import pytest

from search_spaces.design import registry
from search_spaces.errors import SpaceError
from search_spaces.spaces.nago import Nago
from search_spaces.spaces.randwire import RandWire


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
