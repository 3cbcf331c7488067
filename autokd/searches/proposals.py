"""What the optimiser decides for a search: the parameters of the next trial, and which trials are pruned."""

import itertools
from collections.abc import Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler
from optuna.trial import Trial

from autokd.config.fidelity_metrics import ACCURACY
from autokd.config.schema import SearchConfig
from autokd.core.references import include_current_folder
from autokd.core.seeds import derive
from autokd.errors import InputError, first_line
from autokd.optimizers import HalvingPruner, pruner, sampler
from autokd.optimizers.earlier import suggestion_number
from autokd.optimizers.errors import OptimizerError
from autokd.optimizers.registry import LASTING
from autokd.searches.choices import BUDGET_SHARE, Choices
from autokd.searches.own_code import own_optimizer, own_space
from autokd.searches.problem import Problem
from autokd.searches.study import GrowingStudy, quiet_optuna
from autokd.searches.trial_record import TrialRecord
from search_spaces.design.dimensions import Dimension, Value
from search_spaces.errors import BudgetError

__all__ = ["Proposer", "check_optimizer", "feature_options", "propose"]

FEW_TRIALS = 15  # up to which a model of five trials is better than further random points
EARLY_STARTUP = 5
SHARE_STEP = 2**0.5  # factor by which a share of the budget is raised until something fits


class Proposer:
    """What the optimiser decides for a search whose trials it is told one at a time.

    Each decision follows from the trials alone, however they came to be known: our own sampler and pruner keep what
    they read of trials that ended, and all others are made anew for each decision.

    Args:
        problem: The search.
        trial_records: Its trials, by number.
    """

    def __init__(self, problem: Problem, trial_records: Iterable[TrialRecord] = ()) -> None:
        self._problem, metric = problem, problem.fidelity_metric
        self._proposed_from = GrowingStudy(problem.distributions, costs=problem.costs)
        self._pruned_by = (
            self._proposed_from
            if metric == ACCURACY
            else GrowingStudy(problem.distributions, metric, costs=problem.costs)
        )
        self._sampler: BaseSampler | None = None
        self._pruner: BasePruner | None = None
        for record in trial_records:
            self.put(record)

    def put(self, record: TrialRecord) -> None:
        """Add a trial, or put it in the place of what it was before."""
        self._proposed_from.put(record, record.trial.number)
        if self._pruned_by is not self._proposed_from:
            self._pruned_by.put(record, record.trial.number)

    def propose(self, number: int) -> dict[str, Value]:
        """Parameters of the next trial.

        They fit the budget if anything near the optimiser's choice does. The first trials have the start points, if
        there are any, but for those that earlier searches suggest; the optimiser chooses what a start point leaves
        open.

        Args:
            number: Number of the next trial.
        """
        problem = self._problem
        if self._sampler is None or problem.config.optimizer.name not in LASTING:
            self._sampler = _sampler(problem, number)
        self._proposed_from.study.sampler = self._sampler
        given = self._start_points.get(number, {})
        own = own_optimizer(problem.config.optimizer.name, "proposes no trial")
        with own, self._proposed_from.asked() as trial:
            values = _suggest(trial, problem.dimensions, given)
        return _repaired(problem, values, number)

    @cached_property
    def _start_points(self) -> Mapping[int, Mapping[str, Value]]:
        """The start points by the numbers of the trials that have them."""
        earlier = self._problem.earlier_studies
        own = (n for n in itertools.count() if not earlier or suggestion_number(n) is None)
        return dict(zip(own, self._problem.start_points, strict=False))

    def prunes(self, number: int) -> bool:
        """Whether to prune a trial: its fidelity metric at its last rung is too bad compared with the others.

        A start point is not pruned if the configuration says so.
        """
        if self._problem.config.optimizer.keeps_start_points and number in self._start_points:
            return False
        if self._pruner is None or self._problem.config.optimizer.pruner not in LASTING:
            self._pruner = _pruner(self._problem)
        with own_optimizer(self._problem.config.optimizer.pruner, "cannot tell whether to prune a trial"):
            return self._pruned_by.prunes(self._pruner, number)


def propose(problem: Problem, trial_records: Iterable[TrialRecord], number: int) -> dict[str, Value]:
    """Parameters of the next trial after these, see `Proposer.propose`.

    Args:
        problem: The search.
        trial_records: All trials so far.
        number: Number of the next trial.
    """
    return Proposer(problem, trial_records).propose(number)


def check_optimizer(choices: Choices) -> None:
    """Check that sampler and pruner can be created, and that the sampler proposes a trial, which nobody runs.

    Raises:
        InputError: If one of them does not exist, does not take its options, or fails, or there are several objectives
            and the pruner compares one only, or the widths are fixed.
    """
    made, config = _pruner(choices), choices.config.optimizer
    if choices.costs and not isinstance(made, HalvingPruner | NopPruner):
        raise InputError(
            f"optimizer.pruner = {config.pruner!r} compares trials by one objective, but optimizer.objectives are "
            f'several: choose "halving" or "none".'
        )
    if choices.costs and any(member.width is not None for member in choices.space.members.values()):
        raise InputError("optimizer.objectives need widths that follow from the budget, but space.ranges fix `width`.")
    study = GrowingStudy(choices.distributions, costs=choices.costs).study
    study.sampler = _sampler(choices, 0)
    try:
        with quiet_optuna():
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
        "earlier": choices.earlier_studies,
        "startup": _n_startup(choices.config),
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


def _n_startup(config: SearchConfig) -> int | None:
    """Trials that end before the model proposes; in a short search most would otherwise be random."""
    return EARLY_STARTUP if config.optimizer.proposes_early and config.trials <= FEW_TRIALS else None


def _pruner(choices: Choices) -> BasePruner:
    include_current_folder()
    try:
        return pruner(choices.config.optimizer.pruner)
    except OptimizerError as error:
        raise InputError(f"optimizer.pruner: {error}") from None


def _repaired(problem: Problem, values: Mapping[str, Value], number: int) -> dict[str, Value]:
    """The values, with those of the space repaired to fit the budget and the space's rules.

    Where nothing near fits the trial's share of the budget, the share is raised, at most to 1.
    """
    space, facts = problem.space, problem.facts
    ours = space.distributions()
    chosen = {name: value for name, value in values.items() if name in ours}
    others = {name: value for name, value in values.items() if name not in ours}
    while True:
        rng = np.random.default_rng(derive(problem.config.seed, number, "fit"))
        try:
            with own_space(problem.space_name(chosen)):
                return space.fit(chosen, problem.budget_of(others), facts.input_shape, facts.classes, rng) | others
        except BudgetError:
            if others.get(BUDGET_SHARE, 1.0) == 1.0:
                return chosen | others  # nothing near fits: the trial's draw will say so
            others[BUDGET_SHARE] = min(1.0, float(others[BUDGET_SHARE]) * SHARE_STEP)


def _suggest(
    trial: Trial, dimensions: Mapping[str, Dimension], given: Mapping[str, Value] = MappingProxyType({})
) -> dict[str, Value]:
    """A value for every active dimension, chosen by the sampler unless it is given."""
    values: dict[str, Value] = {}
    for name, dimension in dimensions.items():
        if dimension.is_active(values):
            values[name] = given[name] if name in given else trial._suggest(name, dimension.distribution)
    return values
