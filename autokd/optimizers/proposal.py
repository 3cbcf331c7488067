"""The next point as a pure function of a study's history."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autokd.core.seeds import derive
from autokd.optimizers.acquisition.candidates import Box
from autokd.optimizers.acquisition.functions import AcquisitionFunction, acquisition_function
from autokd.optimizers.acquisition.optimisation import Allowed, best_candidate, spare_points
from autokd.optimizers.history import History
from autokd.optimizers.space.encoding import Encoding, keys, unseen
from autokd.optimizers.space.features import NOTHING, Description
from autokd.optimizers.trust_region import Rules, TrustRegion, fold

__all__ = ["SamplerConfig", "propose"]

_N_SOBOL = 64  # points of the sequence to look through for an unseen one
_N_TOPS = 5  # tried points that are varied


@dataclass(frozen=True)
class SamplerConfig:
    """What a user told the sampler, and all else that no trial says.

    Attributes:
        seed: The same for all trials of a study.
        rules: Constants of the trust region.
        repeats: Whether a tried point may be tried again.
        allowed: Limits that can be computed.
        reference: Reference point of several objectives, turned so that larger is better; None infers it.
        description: What is known of points beside their codes.
    """

    seed: int
    rules: Rules
    repeats: bool
    allowed: Allowed
    reference: Sequence[float] | None = None
    description: Description = NOTHING


def propose(history: History, encoding: Encoding, config: SamplerConfig, number: int) -> Tensor:
    """Codes of the point that trial `number` should try, `d`.

    At first it is the Sobol point of the trial's own number, so that trials that start side by side differ and the
    sequence needs no memory; then the best candidate of the trust region.

    Args:
        history: All other trials.
        encoding: The space.
        config: Settings of the sampler.
        number: Number of the trial.
    """
    generator = torch.Generator().manual_seed(derive(config.seed, number, "candidates"))
    seen = {*keys(history.finished), *keys(history.pending)}
    region = fold(history.outcomes, config.rules)
    if not region.is_open(config.rules):
        fresh = unseen(encoding.sobol(number, _N_SOBOL, derive(config.seed, "sobol")), seen)
        fresh = fresh[config.allowed(fresh)]
        return fresh[0] if len(fresh) else spare_points(encoding, seen, config.allowed, generator)[0]
    aim = acquisition_function(
        history, encoding.categories, number, config.repeats, config.reference, config.description
    )
    observed = history.finished[[i for i, outcome in enumerate(history.outcomes) if outcome.observed]]
    merit = aim.merit(observed)
    tops = observed[merit.argsort(descending=True, stable=True)[:_N_TOPS]]
    box = Box.of(encoding, _center(history, region, aim, tops[0]), region.length, aim.lengthscales)
    return best_candidate(encoding, aim, box, tops, seen, config.allowed, generator)


def _center(history: History, region: TrustRegion, aim: AcquisitionFunction, top: Tensor) -> Tensor:
    """Codes of the best of the region's own trials, or of the best of all while it has none, `d`."""
    if not region.restarts:
        return top
    own = [i for i, outcome in enumerate(history.outcomes) if outcome.observed and region.owns(outcome.started)]
    if not own:
        return top
    members = history.finished[own]
    return members[aim.merit(members).argmax()]
