"""Samplers and pruners by name: our own and Optuna's."""

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.study import Study

from autokd.core.seeds import derive
from autokd.errors import first_line
from autokd.optimizers.errors import OptimizerError

if TYPE_CHECKING:
    from autokd.optimizers.space.conditions import Parents

__all__ = ["LASTING", "PRUNERS", "SAMPLERS", "pruner", "sampler"]

_OWN = "trust-region"

SAMPLERS: Mapping[str, str] = MappingProxyType(
    {
        _OWN: "autokd.optimizers.trust_region_sampler:TrustRegionSampler",
        "random": "optuna.samplers:RandomSampler",
        "tpe": "optuna.samplers:TPESampler",
        "gp": "optuna.samplers:GPSampler",
    }
)
"""Known samplers and their import paths; imported on first use, because some take seconds to import."""

PRUNERS: Mapping[str, str] = MappingProxyType(
    {
        "halving": "autokd.optimizers.halving:HalvingPruner",
        "median": "optuna.pruners:MedianPruner",
        "none": "optuna.pruners:NopPruner",
    }
)
"""Known pruners and their import paths."""

LASTING = frozenset({_OWN, *PRUNERS})
"""Those that decide the same whether or not they made the earlier decisions, so that one may serve a whole search."""


def sampler(
    name: str,
    /,
    seed: int,
    search_space: Mapping[str, BaseDistribution] | None = None,
    trial_number: int | None = None,
    features: Callable[[Mapping[str, Any]], Sequence[float]] | None = None,
    described: Collection[str] | None = None,
    conditions: "Parents | None" = None,
    earlier: Sequence[Study] = (),
    startup: int | None = None,
    **options: Any,
) -> BaseSampler:
    """An Optuna sampler by name.

    Args:
        name: One of `SAMPLERS`, or `module:Class` of any other sampler; the class is called with `seed=` and the
            options.
        seed: Seed of the search.
        search_space: Search space, if known in advance. Only ours uses it; Optuna's samplers infer it from the trials.
        trial_number: Number of the trial to be sampled, if a new sampler is made for each trial. Optuna's samplers
            would repeat their random numbers, so their seed is derived from `seed` and this number. Ours depends on the
            trial's number anyway and gets `seed` itself, so that its start-up points form one Sobol sequence.
        features: Features of points as in `TrustRegionSampler`; other samplers do not use them.
        described: Names of the parameters that the features describe, as in `TrustRegionSampler`.
        conditions: Conditional parameters, as in `TrustRegionSampler`; other samplers do not use them.
        earlier: Studies from which to learn, as in `TrustRegionSampler`; other samplers do not use them.
        startup: `n_startup_trials` of ours, unless the options have it; other samplers do not use it.
        **options: Passed to the constructor.

    Raises:
        OptimizerError: If the name is unknown or the constructor rejects the options.
    """
    make = _find(name, SAMPLERS, "sampler")
    fixed: dict[str, Any] = {"seed": seed}
    if name == _OWN:
        known = {"features": features, "described": described, "conditions": conditions, "earlier": earlier}
        fixed |= {"search_space": search_space, "n_startup_trials": startup, **known}
    elif trial_number is not None:
        fixed["seed"] = derive(seed, trial_number, "sampler") % 2**32  # numpy takes no more
    built = _built(make, name, options, fixed)
    if not isinstance(built, BaseSampler):
        raise OptimizerError(f"{name!r} must be an optuna BaseSampler, but is a {type(built).__name__}.")
    return built


def pruner(name: str, /, **options: Any) -> BasePruner:
    """An Optuna pruner by name.

    Args:
        name: One of `PRUNERS`, or `module:Class` of any other pruner.
        **options: Passed to the constructor.

    Raises:
        OptimizerError: If the name is unknown or the constructor rejects the options.
    """
    built = _built(_find(name, PRUNERS, "pruner"), name, options)
    if not isinstance(built, BasePruner):
        raise OptimizerError(f"{name!r} must be an optuna BasePruner, but is a {type(built).__name__}.")
    return built


def _find(name: str, known: Mapping[str, str], kind: str) -> Callable[..., Any]:
    path = known.get(name, name)
    module, colon, attribute = path.partition(":")
    if not colon:
        raise OptimizerError(f"Unknown {kind} {name!r}. Known: {', '.join(known)}, or `module:Class` of your own.")
    try:
        found: Callable[..., Any] = getattr(import_module(module), attribute)
    except (Exception, SystemExit) as error:  # a user's module can fail in any way
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise OptimizerError(f"The {kind} {name!r} cannot be imported: {reason}.") from error
    return found


def _built(
    make: Callable[..., Any], name: str, options: Mapping[str, Any], fixed: Mapping[str, Any] = MappingProxyType({})
) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # the user chose it by name
            return make(**{**fixed, **options})
    except (TypeError, ValueError) as error:
        reason = str(error).removesuffix(".")  # our own messages end with one, others' do not
        raise OptimizerError(f"{name!r} cannot be made with the options {dict(options)}: {reason}.") from error
