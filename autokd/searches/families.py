"""Families ranked by the posterior of the search's model, so that a lucky draw does not win."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from autokd.core.seeds import derive
from autokd.optimizers.models.posterior import posterior
from autokd.searches.problem import Problem
from autokd.searches.proposals import feature_options
from autokd.searches.study import to_study
from autokd.searches.trial_record import TrialRecord
from search_spaces.design.dimensions import Value

__all__ = ["Family", "rank_families", "winner"]

POSTERIOR_SAMPLES = 4_000  # standard error of a probability: at most 0.8 points


@dataclass(frozen=True)
class Family:
    """A family of students with the distillation setting of the trial that tried it.

    Attributes:
        trial: Number of the trial.
        description: The family in words, as the space describes it.
        parameters: Everything that the optimiser chose.
        single_member: Whether all draws of the family are one graph.
        observed: The trial's observed value at the highest rung that it reached.
        rung: That rung's index.
        mean: Posterior mean of the validation accuracy at the last rung.
        deviation: Posterior standard deviation of the same.
        probability_best: Posterior probability that it is the best of the families tried.
        params: Parameters of its first student.
        macs: Multiply-accumulates of that student.
        activation_bytes: Peak size of its activations of one sample.
        limits: Share of each limit that it uses, by name.
        learnt_from: Number of trials from which the model has learnt.
    """

    trial: int
    description: str
    parameters: dict[str, Value]
    single_member: bool
    observed: float
    rung: int
    mean: float
    deviation: float
    probability_best: float
    params: int
    macs: int
    activation_bytes: int
    limits: dict[str, float]
    learnt_from: int


def rank_families(problem: Problem, trial_records: Collection[TrialRecord]) -> list[Family]:
    """All families with a value, sorted by posterior mean, the highest first.

    Args:
        problem: The search.
        trial_records: Its trials, or a part of them, by number.
    """
    valued = {
        place: record for place, record in enumerate(trial_records) if record.values and record.trial.state != "failed"
    }
    if not valued:
        return []
    study = to_study(trial_records, problem.distributions)
    seed = derive(problem.config.seed, "families") % 2**31
    estimates = posterior(
        study, problem.distributions, list(valued), POSTERIOR_SAMPLES, seed, **feature_options(problem)
    )
    families = [
        _family(problem, valued[place], mean, deviation, best, len(trial_records))
        for place, mean, deviation, best in zip(
            valued, estimates.mean, estimates.deviation, estimates.probability_best, strict=True
        )
    ]
    return sorted(families, key=lambda family: (-family.mean, family.trial))


def winner(families: Sequence[Family]) -> Family | None:
    """The best family among those that reached the highest rung; None without families.

    The means of the other families extrapolate from shorter trainings.

    Args:
        families: Sorted, the best first.
    """
    highest = max((family.rung for family in families), default=None)
    return next((family for family in families if family.rung == highest), None)


def _family(
    problem: Problem, record: TrialRecord, mean: float, deviation: float, probability_best: float, learnt_from: int
) -> Family:
    parameters = problem.space.complete(problem.space_parameters(record.trial))
    first = record.students[0]
    return Family(
        trial=record.trial.number,
        description=problem.space.describe(parameters),
        parameters=dict(record.trial.parameters),
        single_member=problem.space.single_member(parameters),
        observed=record.best_value,
        rung=max(record.values),
        mean=mean,
        deviation=deviation,
        probability_best=probability_best,
        params=first.params,
        macs=first.macs,
        activation_bytes=first.activation_bytes,
        limits=problem.budget.utilisation(first.cost),
        learnt_from=learnt_from,
    )
