"""The searching arms: the product searches and trains, and what it found becomes a record."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from measures import named
from protocol import STUDIED, Arm
from records import Record, Run
from trainings import failed
from workbench import Workbench, costs, machine

from autokd.errors import AutoKDError, InputError, InterruptedSearchError
from autokd.evaluation.evaluate import evaluate
from autokd.evaluation.task import EvaluationTask
from autokd.searches.api import begin
from autokd.searches.families import Family, winner
from autokd.searches.reporter import SILENT
from autokd.searches.result import SearchResult
from autokd.searches.workspace import Workspace
from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture

__all__ = ["search"]

MOST_TRIALS = 4  # times those of the protocol: a search whose trials all fail trains no images
NAME = "search"


def search(bench: Workbench, run: Run, arm: Arm, folder: str) -> Record:
    """Search, train the winner in full, and record it. A search that was killed, or had fewer images, goes on.

    That no student fits the limits, or none can be trained, is a result: the record of a failure.

    Args:
        bench: Data set and protocol.
        run: The run.
        arm: What is searched and how.
        folder: Name of the folder of the search, which runs may share.

    Raises:
        InputError: If data or teacher are missing.
        InterruptedSearchError: If it is interrupted.
    """
    try:
        result = _open(bench, run.seed, arm, folder)
        _spend(bench, result, arm)
        best, task, metrics, trained_images, seconds = _train(result, arm)
    except (InputError, InterruptedSearchError):
        raise
    except AutoKDError as error:
        return failed(bench, run, error)
    rows = [row for record in result.trials for row in record.evaluations]
    images = _search_images(result)
    return Record(
        run,
        named(metrics),
        costs(cost(Architecture.from_json(task.architecture))),
        bench.teacher,
        search_images=images,
        images=images + trained_images,
        seconds=sum(row.seconds or 0.0 for row in rows) + seconds,
        found={
            "architecture": json.loads(task.architecture),
            "description": best.description,
            "distillation": dict(task.settings),
            "method": task.method,
            "trials": len(result.trials),
            "families": _families(bench, result, run.arm in STUDIED),
            "importances": _importances(result),
        },
        machine=machine(),
    )


def _open(bench: Workbench, seed: int, arm: Arm, folder: str) -> SearchResult:
    """The search of a run, recorded now or by an earlier process; one with other settings is removed."""
    home, config = Workspace(bench.home(seed, folder)), bench.config(seed, arm)
    if _is_recorded(home):
        found = SearchResult(home, NAME, None, SILENT)
        if found.config.model_copy(update={"trials": config.trials}) == config:
            return found
        bench.clear(seed, folder)
        bench.home(seed, folder)
    return begin(config, home, reporter=SILENT)


def _is_recorded(home: Workspace) -> bool:
    if not home.exists:
        return False
    with home.open() as store:
        return bool(store.searches())


def _spend(bench: Workbench, result: SearchResult, arm: Arm) -> None:
    """Search until as many images are trained on as the protocol allows the arm.

    Trials are added in stages that cannot exceed them, until less than one trial is left; then one more begins.
    """
    whole = bench.images_of_a_trial(result.problem)
    allowed = arm.images * bench.protocol.search_epochs * len(bench.dataset.train)
    most = arm.images * MOST_TRIALS * bench.protocol.trials
    result.resume()
    while (used := _search_images(result)) < allowed and result.config.trials < most:
        more = max(1, int((allowed - used) // whole))
        result.resume(result.config.model_copy(update={"trials": result.config.trials + more}))


def _search_images(result: SearchResult) -> int:
    rows = (row for record in result.trials for row in record.evaluations)
    return sum(int((row.metrics or {}).get("images", 0)) for row in rows)


def _train(result: SearchResult, arm: Arm) -> tuple[Family, EvaluationTask, Mapping[str, float], int, float]:
    """The best family trained in full, that training, its metrics, and images and seconds of all full trainings."""
    families = result.families
    best = winner(families)
    if best is None:
        raise AutoKDError(f"search {result.name!r} has no trained student")
    if arm.final is not None:  # another distillation than the search's: the same training, but not the product's verb
        task = replace(_task(result, best.trial), settings=tuple(sorted(arm.final.items())))
        done = evaluate(task)
        return best, task, done.metrics, int(done.metrics["images"]), done.seconds
    students = result.train()
    best = next(family for family in families if family.trial == students[0].trial.number)
    images = sum(int(student.metrics["images"]) for student in students)
    seconds = sum(student.evaluation.seconds or 0.0 for student in students)
    return best, _task(result, best.trial), students[0].metrics, images, seconds


def _task(result: SearchResult, number: int) -> EvaluationTask:
    """The full training of a trial's student."""
    trial = result.trial(number)
    return result.problem.task(trial.trial, replace(trial.students[0], purpose="final"), rung=0)


def _families(bench: Workbench, result: SearchResult, is_studied: bool) -> list[dict[str, Any]]:
    """The best families as the model of the search sees them; their students only if they are to be studied."""
    problem = result.problem
    return [
        {
            "trial": family.trial,
            "family": problem.space_parameters(result.trial(family.trial).trial),
            "distillation": dict(problem.methods.settings(family.parameters)),
            "probability_best": family.probability_best,
            "mean": family.mean,
            "deviation": family.deviation,
            "observed": family.observed,
            **({"architecture": dict(result.trial(family.trial).students[0].architecture)} if is_studied else {}),
        }
        for family in result.families[: bench.protocol.study.top]
    ]


def _importances(result: SearchResult) -> dict[str, float]:
    with suppress(InputError):  # too few trials, or nothing differs
        return result.importances
    return {}
