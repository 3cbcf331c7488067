"""Families ranked by the posterior of the search's model, so that a lucky draw does not win."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import sqrt

from autokd.core.seeds import derive
from autokd.optimizers.models.posterior import Posterior, posterior
from autokd.optimizers.models.study_model import StudyModel
from autokd.searches.part import MOST_OBSERVATIONS, is_part
from autokd.searches.problem import Problem
from autokd.searches.proposals import feature_options
from autokd.searches.study import to_study
from autokd.searches.trial_record import TrialRecord
from search_spaces.design.dimensions import Value

__all__ = ["Family", "fit_model", "rank_families", "training_noise", "winner", "winners"]

NOISE_SHARE = 0.7
"""Standard deviation of the validation accuracies of repeated trainings, in binomial standard errors of one of them.

Repeated trainings err on each sample about independently of the other samples (Jordan 2023,
https://arxiv.org/abs/2304.01910), so the variance is at most the binomial one, which all samples would give if they
were equally hard. Of the best hundredth of recorded trainings the ratio is 0.78, 0.91 and 0.69 (NAS-Bench-201 with
CIFAR-100 and CIFAR-10, NAS-Bench-Macro; see `tests/benchmarks/search`, "The noise of a training"), of students of
Fashion-MNIST 0.4 to 0.7."""

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
        mean: Posterior mean of the validation accuracy at the highest rung that a trial reached.
        deviation: Posterior standard deviation of the same.
        probability_best: Posterior probability that it is the best of the families tried.
        low: One more student of it, trained to the last rung, exceeds this validation accuracy with a probability of
            95 %; None if the family did not climb to the highest rung.
        high: It stays below this with the same probability.
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
    low: float | None
    high: float | None
    params: int
    macs: int
    activation_bytes: int
    limits: dict[str, float]
    learnt_from: int


def fit_model(problem: Problem, trial_records: Collection[TrialRecord]) -> StudyModel | None:
    """The model of a search that has learnt from these trials; None if none of them has a value.

    Of a part of the trials it learns from `MOST_OBSERVATIONS`, the last one of each trial first.

    Args:
        problem: The search.
        trial_records: Its trials, or a part of them, by number.
    """
    values = [record.best_value for record in trial_records if record.values and record.trial.state != "failed"]
    if not values:
        return None
    study, noise = to_study(trial_records, problem.distributions), training_noise(problem, max(values))
    most = MOST_OBSERVATIONS if is_part(trial_records) else None
    return StudyModel.fit(study, problem.distributions, most=most, noise=noise, **feature_options(problem))


def training_noise(problem: Problem, accuracy: float) -> float | None:
    """Standard deviation by which the mean validation accuracy of a trial's students differs when trained again.

    A few trials cannot tell it, and a model that takes them for exact believes in the luckiest. None in searches of
    earlier versions, and for accuracies of 0 and 1.

    Args:
        problem: The search.
        accuracy: The accuracy, in `[0, 1]`.
    """
    if not problem.facts.noise_is_known or problem.facts.samples is None or not 0 < accuracy < 1:
        return None
    n = problem.facts.samples["validation"] * problem.config.students_per_trial
    return NOISE_SHARE * sqrt(accuracy * (1 - accuracy) / n)


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
    highest = max(max(record.values) for record in valued.values())
    estimates = posterior(
        to_study(trial_records, problem.distributions),
        problem.distributions,
        list(valued),
        POSTERIOR_SAMPLES,
        seed=derive(problem.config.seed, "families") % 2**31,
        eligible=[place for place, record in valued.items() if max(record.values) == highest],
        averaged=problem.config.students_per_trial,
        model=fit_model(problem, trial_records),
        **feature_options(problem),
    )
    families = [
        _family(problem, record, estimates, place, highest, len(trial_records))
        for place, record in enumerate(valued.values())
    ]
    return sorted(families, key=lambda family: (-family.mean, family.trial))


def winner(families: Sequence[Family]) -> Family | None:
    """The first of the `winners`; None without families."""
    return next(iter(winners(families)), None)


def winners(families: Sequence[Family]) -> list[Family]:
    """The families that reached the highest rung. The means of the others extrapolate from shorter trainings.

    Of trials of one family with one setting of the distillation, which the optimiser repeats, there is the first.

    Args:
        families: Sorted, the best first, as the result is.
    """
    highest = max((family.rung for family in families), default=None)
    first = dict[frozenset[tuple[str, object]], Family]()
    for family in families:
        if family.rung == highest:
            first.setdefault(frozenset(family.parameters.items()), family)
    return list(first.values())


def _family(
    problem: Problem, record: TrialRecord, estimates: Posterior, place: int, highest: int, learnt_from: int
) -> Family:
    climbed = max(record.values) == highest
    parameters = problem.space.complete(problem.space_parameters(record.trial))
    first = record.students[0]
    return Family(
        trial=record.trial.number,
        description=problem.space.describe(parameters),
        parameters=dict(record.trial.parameters),
        single_member=problem.space.single_member(parameters),
        observed=record.best_value,
        rung=max(record.values),
        mean=estimates.mean[place],
        deviation=estimates.deviation[place],
        probability_best=estimates.probability_best[place],
        low=max(0.0, estimates.low[place]) if climbed else None,
        high=min(1.0, estimates.high[place]) if climbed else None,
        params=first.params,
        macs=first.macs,
        activation_bytes=first.activation_bytes,
        limits=problem.budget.utilisation(first.cost),
        learnt_from=learnt_from,
    )
