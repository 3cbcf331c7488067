from typing import Any

import pytest

import autokd
from autokd.config.parsing import parse_config
from autokd.config.schema import SearchConfig
from autokd.errors import InputError
from search_spaces.design.budget import LIMITS, Budget
from search_spaces.errors import SpaceError

ALL = {"memory_bytes": 7, "model_bytes": 6, "activation_bytes": 5, "macs": 4, "params": 3}


def config(budget: Any) -> SearchConfig:
    values = {"name": "first", "data": {"source": "digits"}, "teacher": {"factory": "m:f"}, "space": {"name": "nago"}}
    return parse_config(values | {"training": {"optimizer": "sgd"}, "budget": budget})


def test_there_is_one_budget() -> None:
    assert autokd.Budget is Budget
    assert type(config({"params": 5}).budget) is Budget


@pytest.mark.parametrize("budget", [{"params": 5, "macs": 10**15}, Budget(params=5, macs=10**15)])
def test_a_budget_comes_from_its_keys_or_as_it_is(budget: Any) -> None:
    assert config(budget).budget == Budget(params=5, macs=10**15)


@pytest.mark.parametrize("budget", [{"of_teacher": {"params": 0.1}}, Budget(of_teacher={"params": 0.1})])
def test_shares_of_the_teacher_are_a_section_of_their_own(budget: Any) -> None:
    made = config(budget)
    assert made.budget == Budget(of_teacher={"params": 0.1})
    assert made.to_dict()["budget"] == {"of_teacher": {"params": 0.1}}
    assert parse_config(made.to_dict()) == made


@pytest.mark.parametrize(
    ("budget", "digest"), [({"params": 1000}, "993ed8a7777dec98"), (ALL, "cc35092fd2f1ea0f")], ids=["one", "all"]
)
def test_recorded_budgets_read_back_and_have_the_digest_that_they_had(budget: dict[str, int], digest: str) -> None:
    """The digests are those of the version in which the section was a class of its own."""
    recorded = config(budget).to_dict()
    assert recorded["budget"] == budget
    assert list(recorded["budget"]) == [name for name in LIMITS if name in budget]
    assert parse_config(recorded) == config(budget)
    later = {"optimizer": {"keeps_start_points": False, "proposes_early": False}}
    later["space"] = recorded["space"] | {"tilt": "balanced", "stem": "pooled"}
    later["training"] = recorded["training"] | {"from_teacher": False}
    assert parse_config(recorded | later).digest == digest


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"flops": 1}, f"unknown key 'budget.flops'; known are {', '.join(LIMITS)}, of_teacher"),
        ({"param": 1}, "unknown key 'budget.param'; the nearest known is 'params'"),
        ({}, f"budget: at least one limit must be set: {', '.join(LIMITS)}"),
        (Budget(), "budget: at least one limit must be set"),
        ({"params": 0}, "budget.params: input should be greater than or equal to 1, but got 0"),
        ({"macs": 10**30}, "budget.macs: input should be less than or equal to 1000000000000000"),
        ({"params": True}, "budget.params: must be a number, but got true"),
        ({"params": 1.5}, "budget.params: input should be a valid integer"),
        ({"of_teacher": {"flops": 1}}, f"unknown key 'budget.of_teacher.flops'; known are {', '.join(LIMITS)}"),
        ({"of_teacher": {}}, "budget: at least one limit must be set"),
        ({"of_teacher": {"params": 0}}, "budget.of_teacher.params: input should be greater than 0, but got 0"),
        ({"of_teacher": {"params": 1.5}}, "budget.of_teacher.params: input should be less than or equal to 1"),
        ({"of_teacher": {"macs": "1/3"}}, "budget.of_teacher.macs: input should be a valid number"),
        ({"of_teacher": 0.1}, "budget.of_teacher: must be a section with keys of its own"),
        ([5], "budget: must be a section with keys of its own"),
    ],
)
def test_what_is_no_budget_is_said_in_one_line(budget: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        config(budget)
    assert str(caught.value).startswith(f"configuration: {message}")


@pytest.mark.parametrize("limit", [-1, "5"])
def test_a_limit_without_sense_is_one_line_that_is_a_value_error(limit: Any) -> None:
    with pytest.raises(SpaceError) as caught:
        autokd.Budget(params=limit)
    assert str(caught.value) == f"A limit must be a whole number from 1 to 10**15, but got params={limit!r}."
    assert isinstance(caught.value, ValueError)
