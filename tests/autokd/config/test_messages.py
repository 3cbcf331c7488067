import pytest

from autokd.config.parsing import parse_config
from autokd.errors import InputError

MINIMAL = {"name": "first", "data": {"source": "digits"}, "teacher": {"factory": "m:t"}, "budget": {"params": 1000}}


def message_of(**sections: object) -> str:
    with pytest.raises(InputError) as caught:
        parse_config({**MINIMAL, **sections}, "my.toml")
    return str(caught.value)


def test_an_unknown_key_with_a_near_one_is_told_that_one() -> None:
    assert message_of(budget={"parms": 1}) == "my.toml: unknown key 'budget.parms'; the nearest known is 'params'."


def test_a_list_is_called_one() -> None:
    assert message_of(training={"rungs": 5}) == "my.toml: training.rungs: input should be a valid list, but got 5."
    assert "list should have at least 1 item, not 0" in message_of(training={"rungs": []})


def test_an_unknown_key_of_a_section_that_may_be_omitted_is_told_all() -> None:
    pruning = {"factory": "m:t", "pruning": {"shares": [0.4], "rounds": 2}}
    assert message_of(teacher=pruning) == "my.toml: unknown key 'teacher.pruning.rounds'; known are shares, epochs."


def test_an_unknown_key_without_a_near_one_is_told_all() -> None:
    assert message_of(budget={"flops": 1}) == (
        "my.toml: unknown key 'budget.flops'; known are params, macs, activation_bytes, model_bytes, memory_bytes, "
        "of_teacher."
    )
