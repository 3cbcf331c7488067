"""Conditional parameters: which coordinates of a point are active, and what the others hold.

A conditional parameter exists only if its parent has one of certain values. In trials the code of an inactive parameter
is that of a missing value, so candidates must have it, too: otherwise the model would see differences between points
that are the same.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autokd.optimizers.space.encoding import Encoding
from search_spaces.design.dimensions import Dimension, Value, low_ends

__all__ = ["Conditions", "Parents", "parents_of"]

Parents = Mapping[str, tuple[str, Collection[Any]]]
"""For each conditional parameter, the name of its parent and the parent's values with which it is active."""


@dataclass(frozen=True)
class Conditions:
    """The conditional parameters of a search space.

    Attributes:
        encoding: Encoding of the search space.
        parents: The conditional parameters, parents before children. A parent that is not encoded counts as having one
            of the values, if there are any.
    """

    encoding: Encoding
    parents: Parents

    @property
    def conditional(self) -> Tensor:
        """Mask of the conditional coordinates, `d`, bool."""
        return torch.tensor([name in self.parents for name in self.encoding.names], dtype=torch.bool)

    def active(self, points: Tensor) -> Tensor:
        """Mask of the coordinates that are active at codes `n x d`, same shape, bool."""
        found: dict[str, Tensor] = {}
        for name in self.parents:
            found[name] = self._is_active(name, points, found)
        columns = [found.get(name, torch.ones(len(points), dtype=torch.bool)) for name in self.encoding.names]
        return torch.stack(columns, dim=1)

    def canonical(self, points: Tensor) -> Tensor:
        """The points `n x d` with the codes of missing values at inactive coordinates."""
        if not self.parents:
            return points
        missing = torch.tensor([each.missing() for each in self.encoding.coordinates], dtype=points.dtype)
        return torch.where(self.active(points), points, missing)

    def settled(self, points: Tensor, origins: Tensor, fresh: Tensor) -> Tensor:
        """Points `n x d`, made from others by changing some codes, with sensible codes at all coordinates.

        Coordinates that the change makes active get fresh codes, since the origin says nothing about them; those that
        are not active get the codes of missing values.

        Args:
            points: The changed points, `n x d`.
            origins: The points from which they were made, `n x d` or `1 x d`.
            fresh: Codes of values, `n x d`.
        """
        if not self.parents:
            return points
        was_active = self.active(origins).expand(points.shape)
        result, found = points.clone(), dict[str, Tensor]()
        for name in self.parents:
            found[name] = self._is_active(name, result, found)
            if name in self.encoding.names:
                column = self.encoding.names.index(name)
                awakened = found[name] & ~was_active[:, column]
                result[awakened, column] = fresh[awakened, column]
                result[~found[name], column] = self.encoding.coordinates[column].missing()
        return result

    def _is_active(self, name: str, points: Tensor, known: Mapping[str, Tensor]) -> Tensor:
        """Mask of the points at which a conditional parameter is active, `n`; `known` has those of its ancestors."""
        parent, values = self.parents[name]
        above = known.get(parent, torch.ones(len(points), dtype=torch.bool))
        if parent not in self.encoding.names:
            return above & bool(values)
        column = self.encoding.names.index(parent)
        codes, places = np.unique(points[:, column].numpy(), return_inverse=True)
        decode = self.encoding.coordinates[column].decode
        has_value = [not self.encoding.is_missing(column, code) and decode(code) in values for code in codes.tolist()]
        return above & torch.tensor(has_value)[places]


def parents_of(dimensions: Mapping[str, Dimension]) -> Parents:
    """The conditional ones among some dimensions.

    A dimension whose parent has a single value, and another one than it needs, is never active: it has no values here,
    since a parent of a single value is not encoded.

    Args:
        dimensions: Dimensions by name, parents before children.
    """
    parents: dict[str, tuple[str, tuple[Value, ...]]] = {}
    for name, dimension in dimensions.items():
        if dimension.parent is not None:
            above = dimensions[dimension.parent].distribution
            never = above.single() and low_ends(above)[0] not in dimension.values
            parents[name] = dimension.parent, () if never else dimension.values
    return parents
