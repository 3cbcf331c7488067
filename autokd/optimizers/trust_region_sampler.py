"""Trust-region Bayesian optimisation as an Optuna sampler."""

import math
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from numbers import Integral, Real
from threading import Lock
from typing import Any

import torch
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from autokd.core.extras import needs
from autokd.core.seeds import derive
from autokd.optimizers.acquisition.functions import Acquisition, acquisition_function
from autokd.optimizers.acquisition.optimisation import Allowed
from autokd.optimizers.archive import Archive
from autokd.optimizers.earlier import EarlierStudy, EarlierTask, signs_of
from autokd.optimizers.errors import OptimizerError
from autokd.optimizers.history import PROPOSAL
from autokd.optimizers.models.prior_mean import Memory
from autokd.optimizers.proposal import SamplerConfig, propose
from autokd.optimizers.space.conditions import Parents
from autokd.optimizers.space.encoding import Encoding
from autokd.optimizers.space.features import Description, description_of
from autokd.optimizers.space.union import union
from autokd.optimizers.trust_region import Rules

__all__ = ["TrustRegionSampler"]

_NOT_PICKLED = ("_lock", "_archive", "_description", "_memory")


class TrustRegionSampler(BaseSampler):
    """Sampler for expensive, noisy objectives over numbers and categories, with trials that run in parallel.

    TuRBO (Eriksson et al. 2019, https://arxiv.org/abs/1910.01739) with the departures listed in `trust_region` and
    `acquisition.candidates`. It works with any study, parallel or not, and with define-by-run objectives: by default
    the search space is the union of the parameters of all trials. A parameter that a trial lacks counts as the middle
    of its range, or as a further choice. Which parameters depend on which can be told by `conditions`.

    The same trials and seed give the same proposal, whether or not this instance made the earlier ones: between calls
    the sampler keeps what it read of finished trials (see `archive`), and features, but no more. The model learns from
    the values that pruned trials reported; failed trials are avoided, and running ones are not repeated. Threads may
    share a sampler. Processes that propose at the same moment do not see each other's proposals and may, rarely, choose
    the same point.

    With several objectives, it improves the hypervolume of the Pareto front. Constraints that an objective measures
    (Optuna's `trial.set_constraint`) have one model each. Constraints that can be computed before a trial should be
    given as `feasible`; no proposal violates them.

    Args:
        seed: Seed of all proposals; drawn at random if None.
        n_startup_trials: Number of space-filling trials before the model makes proposals. By default two more than the
            number of parameters, within 5 to 12.
        search_space: Search space, if known in advance; then even the first trial is space-filling.
        noise: Standard deviation of one observation, in the objective's unit, if known. Smaller improvements do not
            count as successes of the trust region. Of several objectives it tells nothing.
        deterministic: Whether a point always has the same value, so that no point is tried twice.
        feasible: Function that tells whether parameters may be proposed. It must be cheap, since it is called for
            thousands of points.
        reference_point: Reference point of the hypervolume of several objectives, in their own units and directions;
            inferred from the front if None.
        features: Function from parameters to a fixed number of features that describe what the parameters produce, such
            as the depth of a network and the number of its operations. It must be cheap, too. If a trial lacks
            parameters, it gets the others. The model treats points of equal features as nearly equal, whatever the
            described parameters are.
        described: Names of the parameters that the features describe; None for all. The other parameters count in
            addition to the features.
        conditions: For each conditional parameter, the name of its parent and the values of the parent with which it
            exists, parents before children. Points that differ only in parameters that do not exist are then the same.
        rules: Rules of the trust region: "own"; "turbo", the paper's constants; "none" for a region that stays the
            whole space; or attributes of `trust_region.Rules` that differ from our own.
        n_trials: Number of trials of the whole study, if known. With it our own region halves sooner in a short one.
        earlier: Studies from which to learn, as they are now, of as many objectives; `models.prior_mean` says how.
            Parameters are matched by name, and values that are not legal here are left out.
        model: "own", or "botorch" for BoTorch's models and acquisition functions, see `acquisition.botorch`; it needs
            the extra `botorch`.
        kernel: Name of GPyTorch's kernel in a model of BoTorch: one of `acquisition.botorch.KERNELS`; BoTorch's default
            if None.
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
        conditions: Parents | None = None,
        rules: str | Mapping[str, Any] = "own",
        n_trials: int | None = None,
        earlier: Sequence[Study] = (),
        model: str = "own",
        kernel: str | None = None,
    ) -> None:
        _check_options(n_startup_trials, n_trials, noise, deterministic, feasible, reference_point)
        self._seed = secrets.randbits(32) if seed is None else seed
        self._n_startup_trials = n_startup_trials
        self._search_space = None if search_space is None else dict(search_space)
        self._noise = noise
        self._deterministic = deterministic
        self._feasible = feasible
        self._reference_point = reference_point
        self._features = features
        self._described = described
        self._conditions = dict(conditions or {})
        self._lock = Lock()  # a proposal must be stored before the next one is computed
        self._archive = Archive()
        self._description: tuple[Encoding, Description] | None = None
        self._rules = rules
        self._n_trials = n_trials
        self._earlier = [EarlierStudy.of(study) for study in earlier]
        self._memory: tuple[Encoding, Memory] | None = None
        self._acquisition = _acquisition(model, kernel)
        Rules.of(1, n_startup_trials, noise, rules=rules)  # reject invalid options here and not at the first trial
        _check_order(self._conditions)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in _NOT_PICKLED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=Lock(), _archive=Archive(), _description=None, _memory=None)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The given search space, or the union of the parameters of all other trials."""
        if self._search_space is not None:
            return {name: d for name, d in self._search_space.items() if not d.single()}
        return union(other for other in study.get_trials(deepcopy=False) if other.number != trial.number)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Parameters proposed for a trial.

        Args:
            study: The study.
            trial: The running trial.
            search_space: Distributions from `infer_relative_search_space`.

        Raises:
            OptimizerError: If the reference point does not have one number for each objective, no feasible point is
                found, or the features are not finite or differ in number between points.
        """
        if not search_space:
            return {}
        signs = signs_of(study)
        encoding = Encoding.of(search_space)
        config = self._config(encoding, signs)
        with self._lock:
            trials = study.get_trials(deepcopy=False)
            past = self._archive.past(trials, trial.number, encoding, signs, config.rules, config.reference)
            params = encoding.decode(propose(past, encoding, config, trial.number).tolist())
            # A trial has a parameter only once it has asked for it. Until then, others need the proposal to avoid it.
            study._storage.set_trial_system_attr(trial._trial_id, PROPOSAL, encoding.to_internal(params))
        return params

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Random value of a parameter that is not in the inferred search space.

        Args:
            study: The study.
            trial: The running trial.
            param_name: Name of the parameter.
            param_distribution: Its distribution.
        """
        seed = derive(self._seed, trial.number, param_name) % 2**32  # numpy takes no more
        return RandomSampler(seed).sample_independent(study, trial, param_name, param_distribution)

    def _config(self, encoding: Encoding, signs: Sequence[float]) -> SamplerConfig:
        reference = self._reference_point
        if reference is not None and len(reference) != len(signs):
            raise OptimizerError(
                f"`reference_point` must have one number for each of the {len(signs)} objectives, but got {reference}."
            )
        return SamplerConfig(
            seed=self._seed,
            rules=Rules.of(
                encoding.dimension,
                self._n_startup_trials,
                self._noise if len(signs) == 1 else 0.0,  # the improvements of several are hypervolumes
                encoding.resolution,
                self._rules,
                self._n_trials,
            ),
            repeats=not self._deterministic,
            allowed=self._allowed(encoding),
            reference=None if reference is None else [s * r for s, r in zip(signs, reference, strict=True)],
            description=self._described_by(encoding),
            conditions=self._conditions,
            memory=self._remembered(encoding, len(signs)),
            acquisition=self._acquisition,
        )

    def _described_by(self, encoding: Encoding) -> Description:
        """The description, which keeps the features of points, so there is one for all proposals in a space."""
        if self._description is None or self._description[0] != encoding:
            self._description = encoding, description_of(self._features, self._described, encoding)
        return self._description[1]

    def _remembered(self, encoding: Encoding, n_objectives: int) -> Memory:
        """The memory, which keeps the models of earlier studies, so there is one for all proposals in a space."""
        if self._memory is None or self._memory[0] != encoding:
            tasks = (EarlierTask.of(study, encoding, n_objectives) for study in self._earlier)
            description = self._described_by(encoding)
            self._memory = encoding, Memory([t for t in tasks if t is not None], encoding.categories, description)
        return self._memory[1]

    def _allowed(self, encoding: Encoding) -> Allowed:
        feasible = self._feasible
        if feasible is None:
            return lambda points: torch.ones(len(points), dtype=torch.bool)
        return lambda points: torch.tensor([bool(feasible(encoding.decode(row))) for row in points.tolist()]).bool()


def _acquisition(model: str, kernel: str | None) -> Acquisition:
    """What makes the acquisition functions."""
    if model == "botorch":
        with needs("botorch", 'model = "botorch"'):
            from autokd.optimizers.acquisition.botorch import BoTorch  # takes seconds
        return BoTorch(kernel)
    if model != "own":
        raise OptimizerError(f'`model` must be "own" or "botorch", but got {model!r}.')
    if kernel is not None:
        raise OptimizerError(f'`kernel` is an option of model = "botorch", but got {kernel!r}.')
    return acquisition_function


def _check_order(conditions: Parents) -> None:
    """Raise `OptimizerError` if a parameter comes before its parent, which would then count as always active."""
    seen: set[str] = set()
    for name, (parent, _) in conditions.items():
        if parent in conditions and parent not in seen:
            raise OptimizerError(
                f"`conditions` must name parents before their children, but {name!r} precedes {parent!r}."
            )
        seen.add(name)


def _check_options(
    n_startup_trials: object,
    n_trials: object,
    noise: object,
    deterministic: object,
    feasible: object,
    reference_point: Any,
) -> None:
    """Raise `OptimizerError` for an option of the wrong type, which a configuration file may well hold."""
    for name, number, least in (("n_startup_trials", n_startup_trials, 1), ("n_trials", n_trials, 0)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, Integral) or int(number) < least):
            raise OptimizerError(f"`{name}` must be a whole number of at least {least}, but got {number!r}.")
    if isinstance(noise, bool) or not isinstance(noise, Real) or not math.isfinite(noise):
        raise OptimizerError(f"`noise` must be a finite number, but got {noise!r}.")
    if not isinstance(deterministic, bool):
        raise OptimizerError(f"`deterministic` must be a bool, but got {deterministic!r}.")
    if feasible is not None and not callable(feasible):
        raise OptimizerError(f"`feasible` must be a function, but got {feasible!r}.")
    if reference_point is not None and not _are_finite(reference_point):
        raise OptimizerError(f"`reference_point` must be a sequence of finite numbers, but got {reference_point!r}.")


def _are_finite(values: Any) -> bool:
    """Whether this is a sequence of finite numbers; an array or a tensor is one, a set or a mapping has no order."""
    if isinstance(values, str | Set | Mapping) or not hasattr(values, "__len__") or not hasattr(values, "__iter__"):
        return False
    numbers = values.tolist() if isinstance(values, torch.Tensor) else values
    return all(isinstance(each, Real) and not isinstance(each, bool) and math.isfinite(each) for each in numbers)
