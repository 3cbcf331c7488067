"""Trust-region Bayesian optimisation as an Optuna sampler."""

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from threading import Lock
from typing import Any

import torch
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from autokd.core.seeds import derive
from autokd.optimizers.acquisition.optimisation import Allowed
from autokd.optimizers.errors import OptimizerError
from autokd.optimizers.history import PROPOSAL, History
from autokd.optimizers.proposal import SamplerConfig, propose
from autokd.optimizers.space.encoding import Encoding
from autokd.optimizers.space.features import description_of
from autokd.optimizers.space.union import union
from autokd.optimizers.trust_region import Rules

__all__ = ["TrustRegionSampler"]


class TrustRegionSampler(BaseSampler):
    """Sampler for expensive, noisy objectives over numbers and categories, with trials that run side by side.

    TuRBO (Eriksson et al. 2019, https://arxiv.org/abs/1910.01739) with the departures that `trust_region` and
    `candidates` list. Works with any study, parallel or not, and with define-by-run objectives: the space is the union
    of what all trials asked for. A parameter that a trial lacks counts as its middle, or as a choice of its own; the
    sampler does not know which parameters depend on which.

    It keeps nothing between calls: the same trials and seed give the same proposal, whether this instance has seen the
    study grow or was made a moment ago. Pruned trials are learned from by what they reported, failed ones are avoided,
    running ones are not repeated. Threads may share a sampler; processes that propose at the very same moment cannot
    see each other's proposal and may, rarely, choose the same point.

    Of several objectives it improves the front's hypervolume. Optuna's constraints (`trial.set_constraint`) are learned
    by a model each; what can be computed before a trial should be given as `feasible`, which no proposal breaks.

    Args:
        seed: Seed of all proposals; None draws one.
        n_startup_trials: Space-filling trials before the model is asked; None is two more than there are parameters,
            within 5 to 12.
        search_space: The space, where it is known beforehand: then even the first trial is space-filling.
        noise: Standard deviation of one observation, in the objective's unit, where it is known: lesser improvements do
            not widen the region.
        deterministic: Whether a point gives the same value each time, so that none is worth a second trial.
        feasible: Which parameters may be proposed, as far as it can be computed; cheap, since thousands are tried.
        reference_point: Where the hypervolume of several objectives begins, in their own units and directions; None
            infers it from the front.
        features: Numbers that describe what parameters make, always as many, such as the depth of the network that is
            built of them and how many of its operations are reached; cheap, too. Of a trial that lacks parameters they
            get the others. The model takes points of equal features for nearly equal, whatever the parameters that
            these describe.
        described: Names of those parameters; None is all. The others count beside the features.
    """

    def __init__(
        self,
        seed: int | None = None,
        n_startup_trials: int | None = None,
        search_space: Mapping[str, BaseDistribution] | None = None,
        noise: float = 0.0,
        deterministic: bool = False,
        feasible: Callable[[Mapping[str, Any]], bool] | None = None,
        reference_point: Sequence[float] | None = None,
        features: Callable[[Mapping[str, Any]], Sequence[float]] | None = None,
        described: Collection[str] | None = None,
    ) -> None:
        self._seed = secrets.randbits(32) if seed is None else seed
        self._n_startup_trials = n_startup_trials
        self._search_space = None if search_space is None else dict(search_space)
        self._noise = noise
        self._deterministic = deterministic
        self._feasible = feasible
        self._reference_point = reference_point
        self._features = features
        self._described = described
        self._lock = Lock()  # a proposal must be stored before the next one is sought
        Rules.of(1, n_startup_trials, noise)  # a wrong option is an error here and not at the first trial

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=Lock())

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The given space or the union of all other trials' parameters."""
        if self._search_space is not None:
            return {name: d for name, d in self._search_space.items() if not d.single()}
        return union(other for other in study.get_trials(deepcopy=False) if other.number != trial.number)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The proposal for a trial.

        Raises:
            OptimizerError: If the reference point does not fit the objectives, no point is found to be feasible, or
                features are not as many finite numbers for one point as for another.
        """
        if not search_space:
            return {}
        signs = [1.0 if direction == StudyDirection.MAXIMIZE else -1.0 for direction in study.directions]
        encoding = Encoding.of(search_space)
        config = self._wishes(encoding, signs)
        with self._lock:
            others = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
            history = History.of(others, encoding, signs, config.reference)
            params = encoding.decode(propose(history, encoding, config, trial.number).tolist())
            # A trial shows each parameter only once it has asked for it. Others must not propose the same meanwhile.
            study._storage.set_trial_system_attr(trial._trial_id, PROPOSAL, encoding.to_internal(params))
        return params

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value, for a parameter that no trial has had so far."""
        seed = derive(self._seed, trial.number, param_name) % 2**32  # numpy takes no more
        return RandomSampler(seed).sample_independent(study, trial, param_name, param_distribution)

    def _wishes(self, encoding: Encoding, signs: Sequence[float]) -> SamplerConfig:
        reference = self._reference_point
        if reference is not None and len(reference) != len(signs):
            raise OptimizerError(
                f"`reference_point` must have a number for each of the {len(signs)} objectives, but is {reference}."
            )
        return SamplerConfig(
            seed=self._seed,
            rules=Rules.of(encoding.dimension, self._n_startup_trials, self._noise, encoding.resolution),
            repeats=not self._deterministic,
            allowed=self._allowed(encoding),
            reference=None if reference is None else [s * r for s, r in zip(signs, reference, strict=True)],
            description=description_of(self._features, self._described, encoding),
        )

    def _allowed(self, encoding: Encoding) -> Allowed:
        feasible = self._feasible
        if feasible is None:
            return lambda points: torch.ones(len(points), dtype=torch.bool)
        return lambda points: torch.tensor([bool(feasible(encoding.decode(row))) for row in points.tolist()]).bool()
