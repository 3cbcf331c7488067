"""A space or an optimiser that refuses in the middle of a search ends a trial or the search, without a traceback."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

MODULE = """
import itertools
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from autokd.optimizers.errors import OptimizerError
from search_spaces.errors import SpaceError
from search_spaces.spaces.nago import Nago

calls = itertools.count()

class Draw(Nago):
    def sample(self, parameters, *rest):
        if next(calls) == 2:  # after that of the checks and the first trial's
            raise SpaceError("This draw is refused.")
        return super().sample(parameters, *rest)

class ForeignDraw(Nago):
    def sample(self, parameters, *rest):
        if next(calls) == 2:
            raise ZeroDivisionError("by hand")
        return super().sample(parameters, *rest)

class Fit(Nago):
    def fit(self, parameters, *rest):
        if next(calls) == 2:  # after that of the checks and the first trial's
            raise SpaceError("No family is near.")
        return super().fit(parameters, *rest)

class ForeignFit(Nago):
    def fit(self, parameters, *rest):
        if next(calls) == 2:
            raise ZeroDivisionError("by hand")
        return super().fit(parameters, *rest)

class Sampler(RandomSampler):
    def sample_relative(self, study, trial, space):
        if trial.number == 1:
            raise OptimizerError("No point is feasible.")
        return {}

class ForeignSampler(RandomSampler):
    def sample_relative(self, study, trial, space):
        if trial.number == 1:
            raise ZeroDivisionError("by hand")
        return {}

class ForeignPruner(NopPruner):
    def prune(self, study, trial):
        if trial.number == 1:
            raise ZeroDivisionError("by hand")
        return False
"""


@pytest.fixture
def search(invoke: Any, tiny: tuple[str, ...], tmp_path: Path) -> Any:
    Path("my_space.py").write_text(MODULE)

    def run(change: str) -> tuple[Any, dict[str, Any]]:
        outcome = invoke(
            "search", "digits", *tiny, "--set", "space.name=nago", "--set", change, "--home", tmp_path / "home"
        )
        status = json.loads(invoke("status", "digits", "-o", "json", "--home", tmp_path / "home").out)
        return outcome, status

    return run


@pytest.mark.parametrize(
    ("space", "reason"),
    [
        ("Draw", "This draw is refused."),
        (
            "ForeignDraw",
            "space 'my_space:ForeignDraw' draws no network: ZeroDivisionError: by hand; see its `blueprint`.",
        ),
    ],
)
def test_a_draw_that_is_refused_ends_its_trial(search: Any, space: str, reason: str) -> None:
    outcome, status = search(f"space.name='my_space:{space}'")
    assert (outcome.code, outcome.err) == (0, "")
    assert (status["status"], status["failed"]) == ("finished", 1)
    assert status["reasons"] == {f"SpaceError: {reason}": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("space.name='my_space:Fit'", "SpaceError: No family is near."),
        ("optimizer.name='my_space:Sampler'", "OptimizerError: No point is feasible."),
        (
            "space.name='my_space:ForeignFit'",
            "SpaceError: space 'my_space:ForeignFit' draws no network: ZeroDivisionError: by hand; "
            "see its `blueprint`.",
        ),
        (
            "optimizer.name='my_space:ForeignSampler'",
            "OptimizerError: 'my_space:ForeignSampler' proposes no trial: ZeroDivisionError: by hand.",
        ),
        (
            "optimizer.pruner='my_space:ForeignPruner'",
            "OptimizerError: 'my_space:ForeignPruner' cannot tell whether to prune a trial: ZeroDivisionError: "
            "by hand.",
        ),
    ],
)
def test_a_proposal_that_is_refused_ends_the_search_in_one_line(search: Any, change: str, message: str) -> None:
    outcome, status = search(change)
    assert (outcome.code, outcome.err) == (5, f"autokd: search 'digits' cannot go on: {message}\n")
    assert status["status"] == "failed"
    assert status["complete"] + status["pruned"] == 1


def test_what_was_recorded_before_stays_and_the_search_can_go_on(search: Any, invoke: Any, tmp_path: Path) -> None:
    search("optimizer.name='my_space:Sampler'")
    Path("my_space.py").write_text(MODULE.replace("trial.number == 1", "False"))
    del sys.modules["my_space"]
    outcome = invoke("resume", "digits", "--home", tmp_path / "home", "-o", "json")
    assert outcome.code == 0, outcome.err
    status = json.loads(invoke("status", "digits", "-o", "json", "--home", tmp_path / "home").out)
    assert (status["status"], status["complete"] + status["pruned"]) == ("finished", 3)
