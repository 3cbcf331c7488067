"""What the optimiser decides for a search: the parameters of the next trial, and which trials are pruned.

Sampler and pruner are made anew for each decision: what they decide follows from the recorded rows alone.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import numpy as np
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import Trial

from autokd.core.references import include_current_folder
from autokd.core.seeds import derive
from autokd.errors import InputError, first_line
from autokd.optimizers import pruner, sampler
from autokd.optimizers.errors import OptimizerError
from autokd.searches.choices import Choices
from autokd.searches.problem import Problem
from autokd.searches.study import to_study
from autokd.searches.trial_record import TrialRecord
from search_spaces.design.dimensions import Dimension, Value
from search_spaces.errors import BudgetError

__all__ = ["check_optimizer", "feature_options", "propose", "prunes"]


def propose(problem: Problem, trial_records: Iterable[TrialRecord], number: int) -> dict[str, Value]:
    """Parameters of the next trial: the same for the same rows.

    They fit the budget if anything near the optimiser's choice does. The first trials have the start points, if there
    are any; the optimiser chooses what a start point leaves open.

    Args:
        problem: The search.
        trial_records: All trials so far.
        number: Number of the next trial.
    """
    study = to_study(trial_records, problem.distributions)
    study.sampler = _sampler(problem, number)
    given = dict(enumerate(problem.start_points)).get(number, {})
    return _repaired(problem, _suggest(study.ask(), problem.dimensions, given), number)


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


def check_optimizer(choices: Choices) -> None:
    """Check that sampler and pruner can be created, and that the sampler proposes a trial, which nobody runs.

    Raises:
        InputError: If one of them does not exist, does not take its options, or fails.
    """
    _pruner(choices)
    study, config = to_study([], choices.distributions), choices.config.optimizer
    study.sampler = _sampler(choices, 0)
    try:
        _suggest(study.ask(), choices.dimensions)
    except Exception as error:  # a user's sampler can fail in any way
        raise InputError(
            f"optimizer: {config.name!r} proposes no trial with the options {dict(config.options)}: "
            f"{type(error).__name__}: {first_line(error)}."
        ) from error


def feature_options(choices: Choices) -> dict[str, Any]:
    """Arguments for the sampler: the `features` of graphs, None if the space has none, and what is `described`."""
    space = choices.space
    features = (lambda values: space.features(space.completed(values))) if space.features(space.completed({})) else None
    return {"features": features, "described": space.described()}


def _sampler(choices: Choices, number: int) -> BaseSampler:
    """A sampler for trial `number` alone, so that its proposal depends on the rows and on no earlier state."""
    own: dict[str, Any] = {
        "seed": derive(choices.config.seed, "sampler") % 2**31,
        "search_space": choices.distributions,
        "trial_number": number,
        "conditions": choices.conditions,
        **feature_options(choices),
    }
    options: Mapping[str, Any] = choices.config.optimizer.options
    if taken := sorted(own.keys() & options.keys()):
        raise InputError(f"optimizer: the option {taken[0]!r} is the search's own.")
    include_current_folder()
    try:
        return sampler(choices.config.optimizer.name, **own, **options)
    except OptimizerError as error:
        raise InputError(f"optimizer: {error}") from None


def _pruner(choices: Choices) -> BasePruner:
    include_current_folder()
    try:
        return pruner(choices.config.optimizer.pruner)
    except OptimizerError as error:
        raise InputError(f"optimizer.pruner: {error}") from None


def _repaired(problem: Problem, values: Mapping[str, Value], number: int) -> dict[str, Value]:
    """The values, with those of the space repaired to fit the budget and the space's rules."""
    space, facts = problem.space, problem.facts
    ours = space.distributions()
    chosen = {name: value for name, value in values.items() if name in ours}
    rng = np.random.default_rng(derive(problem.config.seed, number, "fit"))
    with suppress(BudgetError):  # nothing near fits: the trial's draw will say so
        chosen = space.fit(chosen, problem.budget, facts.input_shape, facts.classes, rng)
    return chosen | {name: value for name, value in values.items() if name not in ours}


def _suggest(
    trial: Trial, dimensions: Mapping[str, Dimension], given: Mapping[str, Value] = MappingProxyType({})
) -> dict[str, Value]:
    """A value for every active dimension, chosen by the sampler unless it is given."""
    values: dict[str, Value] = {}
    for name, dimension in dimensions.items():
        if dimension.is_active(values):
            values[name] = given[name] if name in given else trial._suggest(name, dimension.distribution)
    return values
