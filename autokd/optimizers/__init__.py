"""What to try next: our trust-region sampler, Optuna's by name, and successive halving.

The names below are imported when they are used, since torch and SciPy take seconds to import.
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
