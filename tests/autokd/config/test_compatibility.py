import pytest

from autokd.config import compatibility as keys
from autokd.config.compatibility import fill_recorded, without_later_keys


@pytest.fixture(autouse=True)
def before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A history of four keys, two of them in a section within a section."""
    monkeypatch.setattr(keys, "BEFORE", {"a": {"x": 1, "inner": {"y": 2, "z": None}}, "b": {"w": False}})


def test_missing_keys_say_what_was_done_before_and_others_stay():
    assert fill_recorded({"a": {"x": 5, "inner": {"y": 6}}, "c": 7}) == {
        "a": {"x": 5, "inner": {"y": 6, "z": None}},
        "b": {"w": False},
        "c": 7,
    }


def test_keys_that_say_what_was_done_before_are_left_out_in_sections_too():
    assert without_later_keys({"x": 1, "k": 3, "inner": {"y": 4, "z": None}}, "a") == {"k": 3, "inner": {"y": 4}}


def test_a_section_may_lie_within_another():
    assert without_later_keys({"y": 2, "z": 5}, "a", "inner") == {"z": 5}


@pytest.mark.parametrize("path", [("c",), ("c", "inner"), ("a", "other")])
def test_a_section_without_history_is_whole(path: tuple[str, ...]):
    assert without_later_keys({"x": 1}, *path) == {"x": 1}
