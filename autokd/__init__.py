"""AutoKD: which small network should I train for this teacher and this device, and how should I distil it?

The names below are imported when they are used: torch takes seconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autokd.config.schema import SearchConfig
    from autokd.data.dataset import Dataset
    from autokd.errors import AutoKDError
    from autokd.optimizers.trust_region_sampler import TrustRegionSampler
    from autokd.searches.api import begin, find, search
    from autokd.searches.result import SearchResult
    from search_spaces.design.budget import Budget

__all__ = [
    "AutoKDError",
    "Budget",
    "Dataset",
    "SearchConfig",
    "SearchResult",
    "TrustRegionSampler",
    "begin",
    "find",
    "search",
]
__version__ = "0.1.0"
__distribution__ = "autokd"

_ATTRIBUTES = {
    "AutoKDError": "autokd.errors:AutoKDError",
    "Budget": "search_spaces.design.budget:Budget",
    "Dataset": "autokd.data.dataset:Dataset",
    "SearchConfig": "autokd.config.schema:SearchConfig",
    "SearchResult": "autokd.searches.result:SearchResult",
    "TrustRegionSampler": "autokd.optimizers.trust_region_sampler:TrustRegionSampler",
    "begin": "autokd.searches.api:begin",
    "find": "autokd.searches.api:find",
    "search": "autokd.searches.api:search",
}


def __getattr__(name: str) -> Any:
    if name not in _ATTRIBUTES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _ATTRIBUTES[name].partition(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _check_not_shadowed() -> None:
    """Refuse to work with another package of the name of one of ours; `workers` is a common one."""
    for name in ("search_spaces", "workers"):
        module = import_module(name)
        if getattr(module, "__distribution__", None) != __distribution__:
            place = module.__file__ or ", ".join(getattr(module, "__path__", ()))
            raise ImportError(
                f"autokd needs its own package {name!r}, but {place} shadows it: "
                "rename that file or start Python from another folder."
            )


_check_not_shadowed()
