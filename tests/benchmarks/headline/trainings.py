"""Single trainings outside a search, by the very path on which the product trains a winner in full."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from measures import named
from protocol import WITHOUT_TEACHER, Arm
from records import Record, Run
from workbench import Workbench, costs, machine

from autokd.core.seeds import derive
from autokd.distillation import make_method
from autokd.errors import AutoKDError, InterruptedSearchError
from autokd.evaluation.evaluate import evaluate
from autokd.evaluation.task import EvaluationTask
from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture
from search_spaces.errors import SpaceError

__all__ = ["Training", "best_of_random", "draw", "failed", "folder_of", "random_family", "train"]


@dataclass(frozen=True)
class Training:
    """A training of one student.

    Attributes:
        architecture: The student.
        method: Name of the distillation method.
        settings: Its hyper-parameters; those that are missing have its own defaults.
        epochs: Length of the whole schedule.
        tested: Whether the test split is read in the end.
        from_teacher: Whether the student is a slim copy of the teacher that begins with what fits of its weights.
    """

    architecture: Architecture
    method: str
    settings: Mapping[str, Any]
    epochs: float
    tested: bool = True
    from_teacher: bool = False


def train(bench: Workbench, run: Run, training: Training) -> Record:
    """Train and record a student. A training that was killed goes on from its last epoch.

    A method that cannot work with the student, or diverges, is a result: the record of a failure.

    Raises:
        InputError: If data or teacher are missing.

    Args:
        bench: Data set and protocol.
        run: The run; its seed is that of stream and first weights.
        training: What is trained.
    """
    found: dict[str, Any] = {"distillation": {"method": training.method, **training.settings}}
    if training.tested:
        found["architecture"] = training.architecture.to_dict()
    common: dict[str, Any] = {"cost": costs(cost(training.architecture)), "found": found}
    task = _task(bench, run, training)
    try:
        done = evaluate(task)
    except InterruptedSearchError:
        raise
    except AutoKDError as error:
        return failed(bench, run, error, **common)
    return Record(
        run,
        named(done.metrics),
        teacher=bench.teacher,
        images=int(done.metrics["images"]),
        seconds=done.seconds,
        machine=machine(),
        **common,
    )


def failed(bench: Workbench, run: Run, error: Exception, **known: Any) -> Record:
    """The record of a run without a student.

    Args:
        bench: Data set and protocol.
        run: The run.
        error: Why there is none.
        known: Other fields of the record.
    """
    reason = f"{type(error).__name__}: {error}"
    return Record(run, {}, teacher=bench.teacher, failure=reason, machine=machine(), **known)


def draw(bench: Workbench, arm: Arm, family: Mapping[str, Any], *parts: int | str) -> Architecture:
    """A student of a family.

    Args:
        bench: Data set and limits.
        arm: Space and ranges.
        family: Parameters of the family; those that the ranges fix may be missing.
        parts: What the draw is for, which decides its randomness.
    """
    problem, rng = bench.space(arm), np.random.default_rng(derive("headline", *parts))
    facts, budget = problem.facts, problem.budget
    return problem.space.sample(family, budget, facts.input_shape, facts.classes, rng)


def random_family(bench: Workbench, arm: Arm, *parts: int | str) -> dict[str, Any]:
    """Parameters of a random family that fits the limits.

    Args:
        bench: Data set and limits.
        arm: Space and ranges.
        parts: What it is for, which decides its randomness.
    """
    problem, rng = bench.space(arm), np.random.default_rng(derive("headline", *parts))
    facts, budget = problem.facts, problem.budget
    return problem.space.fit(problem.space.random_parameters(rng), budget, facts.input_shape, facts.classes, rng)


def best_of_random(bench: Workbench, run: Run, arm: Arm) -> Record:
    """The best of some random families by validation, trained without a teacher: arm P.

    Each family has one draw, trained as long as the search's last rung; the best is then trained in full.

    Args:
        bench: Data set and protocol.
        run: The run.
        arm: Space and ranges.
    """
    screened = []
    for number in range(bench.protocol.random_families):
        family = random_family(bench, arm, "P", run.seed, number)
        try:
            architecture = draw(bench, arm, family, "P", run.seed, number)
        except SpaceError:  # not every member of a family that fits has to
            continue
        short = Training(architecture, "kd", WITHOUT_TEACHER, bench.protocol.rungs[-1], tested=False)
        screened.append((train(bench, run, short), architecture))
    good = [pair for pair in screened if pair[0].metrics]
    if not good:
        return failed(bench, run, AutoKDError("none of the random families can be trained"))
    _, best = max(good, key=lambda pair: pair[0].metrics["validation"])
    full = train(bench, run, Training(best, "kd", WITHOUT_TEACHER, bench.protocol.final))
    images, seconds = (sum(getattr(record, name) for record, _ in screened) for name in ("images", "seconds"))
    return replace(full, search_images=images, images=images + full.images, seconds=round(seconds + full.seconds, 3))


def folder_of(run: Run) -> str:
    """Name of the folder of a run outside a search."""
    return f"{run.arm}-{run.variant}".replace("/", "-").replace("#", "-").replace(" ", "-").strip("-")


def _task(bench: Workbench, run: Run, training: Training) -> EvaluationTask:
    problem = bench.problem(run.seed, folder_of(run), epochs=training.epochs)
    method = make_method(training.method, dict(training.settings))
    reads = method.n_views == 1 and not method.chooses_layers  # as a search's methods do, see `MethodChoice.needs`
    context = replace(
        problem.retraining_context, needs=method.needs if reads else frozenset(), is_tested=training.tested
    )
    return EvaluationTask(
        context,
        training.architecture.to_json(),
        training.method,
        tuple(sorted(training.settings.items())),
        rung=0,
        seed=derive(run.seed, "training"),
        folder=problem.evaluations,
        keeps_best=True,
        from_teacher=training.from_teacher,
    )
