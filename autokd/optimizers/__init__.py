"""Samplers and pruners: which trial to run next, and which trials to stop early.

`TrustRegionSampler` is the default sampler; `registry` makes it, or any of Optuna's, by name. Reading order:
`trust_region_sampler` (Optuna's interface), `proposal` (how the next point is chosen), `history` (the trials as
tensors), `trust_region`, then the packages `space` (parameters as coordinates), `models` (the surrogate) and
`acquisition` (acquisition functions and their optimisation). `halving` is the pruner, `importance` the importance of
each parameter; `models.posterior` says how good each trial is, and how sure that is; `gain` says what further trials
would gain.

The names below are imported on first use, because torch and SciPy take seconds to import.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autokd.optimizers.errors import OptimizerError
    from autokd.optimizers.halving import HalvingPruner
    from autokd.optimizers.registry import PRUNERS, SAMPLERS, pruner, sampler
    from autokd.optimizers.trust_region_sampler import TrustRegionSampler

__all__ = ["PRUNERS", "SAMPLERS", "HalvingPruner", "OptimizerError", "TrustRegionSampler", "pruner", "sampler"]

_ATTRIBUTES = {
    "HalvingPruner": "halving",
    "OptimizerError": "errors",
    "PRUNERS": "registry",
    "SAMPLERS": "registry",
    "TrustRegionSampler": "trust_region_sampler",
    "pruner": "registry",
    "sampler": "registry",
}


def __getattr__(name: str) -> Any:
    if name not in _ATTRIBUTES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_ATTRIBUTES[name]}"), name)
