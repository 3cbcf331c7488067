"""Numbers without sense are refused by the schema, and what was recorded before a bound stays readable."""

from typing import Any

import pytest

from autokd.config.parsing import parse_config, recorded_config
from autokd.config.toml import override_config
from autokd.errors import InputError

MINIMAL: dict[str, Any] = {
    "name": "first",
    "data": {"source": "digits"},
    "teacher": {"factory": "module:teacher"},
    "budget": {"params": 1000},
}
INF, NAN = float("inf"), float("nan")


def config_with(key: str, value: Any) -> dict[str, Any]:
    """Plain values of a small configuration, one of them another."""
    section, dot, name = key.partition(".")
    if not dot:
        return {**MINIMAL, key: value}
    return {**MINIMAL, section: {**MINIMAL.get(section, {}), name: value}}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("trials", True, "must be a number, but got true"),
        ("trials", 10**30, f"input should be less than or equal to 1000000, but got {10**30}"),
        ("trials", 10**7, "input should be less than or equal to 1000000, but got 10000000"),
        ("seed", True, "must be a number, but got true"),
        ("seconds", INF, "input should be a finite number, but got inf"),
        ("training.views", 10**9, "input should be less than or equal to 10000, but got 1000000000"),
        ("training.learning_rate", NAN, "input should be a finite number, but got nan"),
        ("training.weight_decay", INF, "input should be a finite number, but got inf"),
        ("training.cooldown", NAN, "input should be a finite number, but got nan"),
        ("budget.params", 10**30, f"input should be less than or equal to {10**15}, but got {10**30}"),
        ("final.epochs", INF, "input should be a finite number, but got inf"),
        ("final.epochs", 1e308, "input should be less than or equal to 100000, but got 1e+308"),
        ("workers.threads", 10**6, "input should be less than or equal to 1024, but got 1000000"),
        ("workers.count", 10**6, "input should be less than or equal to 1024, but got 1000000"),
        ("workers.seconds", 1e300, "input should be less than or equal to 1000000000, but got 1e+300"),
        ("data.subset", True, "must be a number, but got true"),
        ("data.image_size", 10**9, "input should be less than or equal to 4096, but got 1000000000"),
        ("teacher.floor", NAN, "input should be a finite number, but got nan"),
        ("teacher.output", 10**30, "must be a number of at most 64 bits, but got one of 100"),
    ],
)
def test_a_number_without_sense_is_refused(key: str, value: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_config(config_with(key, value), "my.toml")
    assert str(caught.value) == f"my.toml: {key}: {message}."


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("training.rungs", [INF], "training.rungs.0: input should be a finite number, but got inf"),
        ("training.rungs", [1, 1e308], "training.rungs.1: input should be less than or equal to 100000"),
        ("teacher.mean", [NAN], "teacher.mean.0: input should be a finite number, but got nan"),
        ("teacher.deviation", [INF], "teacher.deviation.0: input should be a finite number, but got inf"),
        ("teacher.resize", 10**9, "teacher.resize.0: input should be less than or equal to 4096"),
        ("teacher.classes", [0, 10**30], "teacher.classes.1: input should be less than or equal to"),
        ("optimizer.options", {"noise": NAN}, "optimizer.options.noise: must be a finite number, but got nan"),
        ("optimizer.options", {"noise": [1, 2]}, "optimizer.options.noise: must be one value, but got [1, 2]"),
        ("space.ranges", {"top_nodes": [3, INF]}, "space.ranges.top_nodes: must be a finite number, but got inf"),
        ("space.ranges", {"top_nodes": [3, [4]]}, "space.ranges.top_nodes: must be one value or a list of values"),
        ("distillation.ranges", {"temperature": 10**30}, "distillation.ranges.temperature: must be a number of at"),
    ],
)
def test_a_list_or_table_is_checked_number_by_number(key: str, value: Any, where: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_config(config_with(key, value), "my.toml")
    assert str(caught.value).startswith(f"my.toml: {where}")


def test_a_long_value_is_shortened_in_a_message() -> None:
    with pytest.raises(InputError) as caught:
        parse_config(config_with("trials", "x" * 5000))
    assert len(str(caught.value)) < 300


def test_whether_students_inherit_weights_may_be_said_by_false() -> None:
    assert parse_config(config_with("training.warm_start", False)).training.warm_start == 0


@pytest.mark.parametrize(("key", "value"), [("name", "a" * 150), ("distillation.method", "")])
def test_what_was_recorded_before_a_rule_can_be_read_and_resumed(key: str, value: str) -> None:
    with pytest.raises(InputError):
        parse_config(config_with(key, value))
    recorded = recorded_config(config_with(key, value), "search old")
    assert recorded.distillation.names == ("kd",)
    assert override_config(recorded, ["trials=9"]).trials == 9
