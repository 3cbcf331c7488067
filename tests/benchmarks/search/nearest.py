"""A task on a continuum of which only some points were recorded."""

from collections.abc import Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from tasks import Array, Params, Task

__all__ = ["NearestTask"]


@dataclass(frozen=True)
class NearestTask(Task):
    """A task whose parameters are positive floats on a logarithmic scale.

    A setting gives what the nearest recorded one gave that the run has not trained yet: by the Euclidean distance of
    the logarithms, each standardised over the recorded settings. Without the second condition a search that closes in
    on a good setting would train one recorded setting again and again, where on the continuum it finds better ones.
    Once all of them are trained, it is the nearest. It is so for everybody, and nobody is told which one it was.

    Attributes:
        settings: The recorded ones, `size x parameters`.
    """

    settings: Array = field(kw_only=True)

    @property
    def _n_points(self) -> int:
        return len(self.settings)

    @cached_property
    def _deviations(self) -> Array:
        return np.asarray(np.log(self.settings).std(axis=0))

    @cached_property
    def _scaled(self) -> Array:
        return np.asarray(np.log(self.settings) / self._deviations)

    def row(self, params: Params, trained: Set[int] = frozenset()) -> int:
        """Number of the nearest recorded setting that is not trained yet, or of the nearest if all are."""
        point = np.log([params[name] for name in self.space]) / self._deviations
        distances = ((self._scaled - point) ** 2).sum(axis=1)
        if len(trained) < self.size:
            distances[list(trained)] = np.inf
        return int(np.argmin(distances))

    def params(self, row: int) -> dict[str, Any]:
        """A recorded setting."""
        return dict(zip(self.space, self.settings[row].tolist(), strict=True))
