"""A search of several objectives from the command line, and what cannot be one."""

import json
from pathlib import Path
from typing import Any

import pytest

from autokd.recipes.catalogue import find_config

TRADED = (
    *("--set", 'optimizer.objectives=["accuracy", "macs"]', "--set", "budget.macs=150_000"),
    *("--set", "trials=5", "--set", "training.rungs=[0.5, 1]", "--set", "optimizer.signal=accuracy"),
)


@pytest.mark.slow  # trains five small students, and one of them at full length
def test_a_front_is_searched_shown_and_one_of_its_students_trained(invoke: Any, tiny: tuple[str, ...], tmp_path: Path):
    home = tmp_path / "home"
    searched = invoke("search", "digits", *tiny, *TRADED, "--set", "final.families=1", "--home", home)
    assert (searched.code, searched.err) == (0, "")
    assert "front: " in searched.out
    status = json.loads(invoke("status", "digits", "-o", "json", "--home", home).out)
    front = json.loads(invoke("pareto", "digits", "-o", "json", "--home", home).out)
    assert [student["trial"] for student in status["front"]] == [student["trial"] for student in front]
    assert [student["macs"] for student in front] == sorted(student["macs"] for student in front)
    trial = json.loads(invoke("show", "digits", front[0]["trial"], "-o", "json", "--home", home).out)["trial"]
    assert trial["value"] == [front[0]["metrics"]["accuracy"], front[0]["macs"]]
    families = json.loads(invoke("families", "digits", "-o", "json", "--home", home).out)
    assert {each["trial"] for each in families if each["is_on_front"]} == {each["trial"] for each in front}

    within = ("--within", f"macs={front[0]['macs']}", "--home", home)  # the cheapest one
    best = json.loads(invoke("best", "digits", "-o", "json", *within).out)
    assert best["macs"] <= front[0]["macs"]
    trained = json.loads(invoke("train", "digits", "-o", "json", *within).out)
    assert [student["macs"] <= front[0]["macs"] for student in trained] == [True]
    plotted = invoke("plot", "digits", tmp_path / "plot.svg", "--home", home)
    assert plotted.code == 0
    assert "Accuracy against macs" in (tmp_path / "plot.svg").read_text()


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        ('["accuracy", "latency"]', "optimizer.objectives.1: input should be 'accuracy', 'params', 'macs', "),
        ('["accuracy", "params", "params"]', "objectives: must be different, but 'params' comes more than once."),
        ('["params", "accuracy"]', "optimizer.objectives: must begin with 'accuracy', but got ['params', 'accuracy']."),
        ('["macs"]', "optimizer.objectives: must begin with 'accuracy', but got ['macs']."),
        ("[]", "optimizer.objectives: must begin with 'accuracy', but got []."),
        ('"macs"', "optimizer.objectives: input should be a valid list, but got 'macs'."),
        ('["accuracy", "macs"]', "objectives: 'macs' needs a limit, budget.macs or budget.of_teacher.macs."),
    ],
)
def test_objectives_that_cannot_be_are_one_line_and_nothing_is_recorded(
    invoke: Any, tmp_path: Path, objectives: str, message: str
):
    change = f"optimizer.objectives={objectives}"
    outcome = invoke("search", "digits", "--set", change, "--home", tmp_path / "home")
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "home").exists()


def test_a_search_of_several_objectives_does_not_stop_by_its_gain_of_accuracy(invoke: Any, tmp_path: Path):
    changes = ("--set", 'optimizer.objectives=["accuracy", "params"]', "--set", "stop.gain=0.1")
    outcome = invoke("search", "digits", *changes, "--home", tmp_path / "home")
    assert (outcome.code, outcome.out) == (2, "")
    message = "stop: gain: needs the accuracy as the only objective, but got ['accuracy', 'params']."
    assert outcome.err.endswith(f"{message}\n")
    assert outcome.err.count("\n") == 1


def test_a_gain_of_0_is_none_with_several_objectives_too() -> None:
    config = find_config("digits", ['optimizer.objectives=["accuracy", "params"]', "stop.gain=0"])
    assert config.stop.gain == 0


@pytest.mark.parametrize(
    ("within", "message"),
    [
        ("mac=1", "'mac=1' must be LIMIT=NUMBER with one of params, macs, "),
        ("macs", "macs must be a whole number, but got ''."),
        ("macs=3e6", "macs must be a whole number, but got '3e6'."),
        ("macs=0", "A limit must be a whole number from 1 to 10**15, but got macs=0."),
        ("macs=1", "search 'digits' has no trained student of macs <= 1 yet."),
    ],
)
@pytest.mark.parametrize("verb", ["best", "train", "export"])
def test_limits_that_no_student_keeps_are_one_line(invoke: Any, finished: Path, verb: str, within: str, message: str):
    folder = ["student"] if verb == "export" else []
    outcome = invoke(verb, "digits", *folder, "--within", within, "--home", finished)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
