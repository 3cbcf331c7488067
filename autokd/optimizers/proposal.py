"""The next proposal as a pure function of a study's history."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from autokd.core.seeds import derive
from autokd.optimizers.acquisition.candidates import Box
from autokd.optimizers.acquisition.functions import Acquisition, AcquisitionFunction, acquisition_function
from autokd.optimizers.acquisition.optimisation import Allowed, best_candidate, spare_points
from autokd.optimizers.acquisition.portfolio import suggested
from autokd.optimizers.archive import Past
from autokd.optimizers.earlier import suggestion_number
from autokd.optimizers.history import History
from autokd.optimizers.models.prior_mean import NO_MEMORY, Memory
from autokd.optimizers.space.conditions import Conditions, Parents
from autokd.optimizers.space.encoding import Encoding, unseen
from autokd.optimizers.space.features import NO_FEATURES, Description
from autokd.optimizers.trust_region import Rules, TrustRegion

__all__ = ["SamplerConfig", "propose"]

_N_SOBOL = 64  # points of the sequence among which an unseen one is sought
_N_TOPS = 5  # best tried points, which are mutated


@dataclass(frozen=True)
class SamplerConfig:
    """The sampler's options: everything a proposal depends on besides the trials.

    Attributes:
        seed: Seed, the same for all trials of a study.
        rules: Constants of the trust region.
        repeats: Whether tried points may be proposed again.
        allowed: Constraints that can be computed before a trial.
        reference: Reference point of several objectives, with signs such that larger is better; inferred if None.
        description: Features of points.
        conditions: The conditional parameters.
        memory: What is known of earlier tasks.
        acquisition: Makes the acquisition function.
    """

    seed: int
    rules: Rules
    repeats: bool
    allowed: Allowed
    reference: Sequence[float] | None = None
    description: Description = NO_FEATURES
    conditions: Parents = field(default_factory=dict)
    memory: Memory = NO_MEMORY
    acquisition: Acquisition = acquisition_function


def propose(past: Past, encoding: Encoding, config: SamplerConfig, number: int) -> Tensor:
    """Codes of the point that trial `number` should try, `d`.

    During start-up it is the point of a Sobol sequence whose index is the trial's number, so parallel trials differ
    without shared state. Later it is the best candidate of the trust region. [ours] Earlier tasks suggest some of the
    start-up points, and later two proposals in four use them: where a task is alike but has another optimum, a search
    that always begins with theirs stays there.

    Args:
        past: All other trials.
        encoding: Encoding of the search space.
        config: The sampler's options.
        number: Number of the trial.
    """
    generator = torch.Generator().manual_seed(derive(config.seed, number, "candidates"))
    history, region, seen = past.history, past.region, past.seen
    if not region.is_open(config.rules):
        fresh = unseen(_own_points(encoding, config, number), seen)
        fresh = fresh[config.allowed(fresh)]
        conditions = Conditions(encoding, config.conditions)
        own = fresh[0] if len(fresh) else spare_points(conditions, seen, config.allowed, generator)[0]
        return _start_up(past, own, encoding, config, number)
    memory = config.memory if number // 2 % 2 == 0 else NO_MEMORY  # each view of the objective with and without it
    acquisition = config.acquisition(
        history, encoding.categories, number, config.repeats, config.reference, config.description, memory
    )
    observed = history.finished[[i for i, outcome in enumerate(history.outcomes) if outcome.observed]]
    merit = acquisition.merit(observed)
    tops = observed[merit.argsort(descending=True, stable=True)[:_N_TOPS]]
    center = _center(history, region, acquisition, tops[0])
    box = Box.of(encoding, center, region.length, acquisition.lengthscales, config.conditions)
    return best_candidate(encoding, acquisition, box, tops, seen, config.allowed, generator)


def _own_points(encoding: Encoding, config: SamplerConfig, number: int) -> Tensor:
    """Points of the study's Sobol sequence from the trial's on, `n x d`.

    They have the codes of missing values where a parameter does not exist, as trials do, so that none is tried twice.
    """
    points = encoding.sobol(number, _N_SOBOL, derive(config.seed, "sobol"))
    return Conditions(encoding, config.conditions).canonical(points)


def _start_up(past: Past, own: Tensor, encoding: Encoding, config: SamplerConfig, number: int) -> Tensor:
    """The start-up point that earlier tasks suggest for this trial, or else the study's own."""
    place = suggestion_number(number)
    if place is None or not config.memory.tasks:
        return own
    conditions = Conditions(encoding, config.conditions)
    point = suggested(config.memory, past.history, own, place, past.seen, config.allowed, conditions)
    return own if point is None else point


def _center(history: History, region: TrustRegion, acquisition: AcquisitionFunction, top: Tensor) -> Tensor:
    """Codes of the best of the region's own trials, `d`; of the best of all trials as long as it has none."""
    if not region.restarts:
        return top
    own = [i for i, outcome in enumerate(history.outcomes) if outcome.observed and region.owns(outcome.started)]
    if not own:
        return top
    members = history.finished[own]
    return members[acquisition.merit(members).argmax()]
