"""A search that learns from earlier ones, from the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from autokd.recipes.catalogue import find_config

SHORT = ("--set", "training.rungs=[0.5]")


@pytest.mark.slow  # trains a dozen students
def test_a_search_learns_from_another_and_from_a_file_and_goes_on_when_they_are_gone(
    invoke: Any, tiny: tuple[str, ...], tmp_path: Path
):
    home, file = ("--home", tmp_path / "home"), tmp_path / "others.json"
    assert invoke("search", "digits", *tiny, *SHORT, "--set", "trials=5", *home).code == 0
    file.write_text(invoke("families", "digits", "-o", "json", *home).out)
    learning = ("--set", f'optimizer.learn_from=["digits", "{file}"]', "--name", "second")
    searched = invoke("search", "digits", *tiny, *SHORT, *learning, *home)
    assert (searched.code, searched.err) == (0, "")
    assert f"learns from 10 trials of digits, {file}\n" in searched.out

    assert invoke("delete", "digits", "--yes", *home).code == 0
    file.unlink()
    assert invoke("resume", "second", "--set", "trials=4", *home).code == 0
    told = [{"name": name, "trials": 5, "dropped": 0} for name in ("digits", str(file))]
    for words in (("status", "second"), ("show", "second", 3)):
        assert json.loads(invoke(*words, "-o", "json", *home).out)["learns_from"] == told
        assert "learns from" in invoke(*words, *home).out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("optimizer.learn_from=[]",), 'learn_from: must be "all", "none" or a list of names of searches and of .json'),
        (("optimizer.learn_from=3",), "files, but got 3."),
        (('optimizer.learn_from=["a", "a"]',), "learn_from: must be different, but 'a' comes more than once."),
        (("optimizer.learn_from=all", "optimizer.name=tpe"), "needs name = \"trust-region\", but got 'tpe'."),
        (('optimizer.learn_from=["frist"]',), "optimizer.learn_from: there is no search 'frist' in "),
        (('optimizer.learn_from=["none.json"]',), "here/none.json: No such file or directory."),
        (("optimizer.options.earlier=1",), "optimizer: the option 'earlier' is the search's own."),
    ],
)
def test_what_cannot_be_learnt_from_is_one_line(refused: Any, changes: tuple[str, ...], message: str):
    assert message in refused(*changes)


def test_nothing_is_recorded_of_learning_from_none():
    plain, none = (find_config("digits", changes) for changes in ([], ["optimizer.learn_from=none"]))
    assert plain.to_dict() == none.to_dict()
    assert plain.digest == none.digest
    assert "learn_from" not in plain.to_dict()["optimizer"]
