"""What the optimiser decides for a search: the parameters of the next trial, and which trials are pruned.

Sampler and pruner are made anew for each decision: what they decide follows from the recorded rows alone.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import Trial

from autokd.core.references import include_current_folder
from autokd.core.seeds import derive
from autokd.errors import InputError
from autokd.optimizers import pruner, sampler
from autokd.optimizers.errors import OptimizerError
from autokd.searches.problem import Problem
from autokd.searches.study import to_study
from autokd.searches.trial_record import TrialRecord
from search_spaces.design.dimensions import Dimension, Value, low_ends
from search_spaces.errors import BudgetError

__all__ = ["check_optimizer", "feature_options", "propose", "prunes"]


def propose(problem: Problem, trial_records: Iterable[TrialRecord], number: int) -> dict[str, Value]:
    """Parameters of the next trial: the same for the same rows.

    They fit the budget if anything near the optimiser's choice does.

    Args:
        problem: The search.
        trial_records: All trials so far.
        number: Number of the next trial.
    """
    study = to_study(trial_records, problem.distributions)
    study.sampler = _sampler(problem, number)
    return _repaired(problem, _suggest(study.ask(), problem.dimensions), number)


def prunes(problem: Problem, trial_records: Iterable[TrialRecord], record: TrialRecord) -> bool:
    """Whether to prune a trial: its fidelity metric at its last rung is too bad compared with the others.

    Args:
        problem: The search.
        trial_records: All trials.
        record: The trial.
    """
    study = to_study(trial_records, problem.distributions, problem.fidelity_metric)
    trial = study.get_trials(deepcopy=False)[record.trial.number]
    return bool(_pruner(problem).prune(study, trial))


def check_optimizer(problem: Problem) -> None:
    """Check that sampler and pruner can be created.

    Raises:
        InputError: If one of them does not exist, or does not take its options.
    """
    _sampler(problem, 0)
    _pruner(problem)


def feature_options(problem: Problem) -> dict[str, Any]:
    """Arguments for the sampler: the `features` of graphs, None if the space has none, and what is `described`."""
    features = (lambda values: _graph_features(problem, values)) if _graph_features(problem, {}) else None
    return {"features": features, "described": tuple(problem.space.distributions())}


def _sampler(problem: Problem, number: int) -> BaseSampler:
    """A sampler for trial `number` alone, so that its proposal depends on the rows and on no earlier state."""
    own: dict[str, Any] = {
        "seed": derive(problem.config.seed, "sampler") % 2**31,
        "search_space": problem.distributions,
        "trial_number": number,
        **feature_options(problem),
    }
    options: Mapping[str, Any] = problem.config.optimizer.options
    if taken := sorted(own.keys() & options.keys()):
        raise InputError(f"optimizer: the option {taken[0]!r} is the search's own.")
    include_current_folder()
    try:
        return sampler(problem.config.optimizer.name, **own, **options)
    except OptimizerError as error:
        raise InputError(f"optimizer: {error}") from None


def _pruner(problem: Problem) -> BasePruner:
    include_current_folder()
    try:
        return pruner(problem.config.optimizer.pruner)
    except OptimizerError as error:
        raise InputError(f"optimizer.pruner: {error}") from None


def _repaired(problem: Problem, values: Mapping[str, Value], number: int) -> dict[str, Value]:
    """The values, with those of the space repaired to fit the budget and the space's rules."""
    space, facts = problem.space, problem.facts
    ours = space.distributions()
    chosen = {name: value for name, value in values.items() if name in ours}
    rng = np.random.default_rng(derive(problem.config.seed, number, "fit"))
    with suppress(BudgetError):  # nothing near fits: the trial's draw will say so
        chosen = space.fit(chosen, problem.config.budget, facts.input_shape, facts.classes, rng)
    return chosen | {name: value for name, value in values.items() if name not in ours}


def _graph_features(problem: Problem, values: Mapping[str, Value]) -> tuple[float, ...]:
    """Features of the graph that the space makes of these values; missing parameters are at their low ends."""
    ours: dict[str, Value] = {}
    for name, dimension in problem.space.distributions().items():
        if dimension.is_active(problem.space.fixed | ours):
            ours[name] = values.get(name, low_ends(dimension.distribution)[0])
    return problem.space.features(problem.space.complete(ours))


def _suggest(trial: Trial, dimensions: dict[str, Dimension]) -> dict[str, Value]:
    """A value for every active dimension."""
    values: dict[str, Value] = {}
    for name, dimension in dimensions.items():
        if dimension.is_active(values):
            values[name] = trial._suggest(name, dimension.distribution)
    return values
