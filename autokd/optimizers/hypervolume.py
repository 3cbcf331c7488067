"""Fronts of several objectives, all maximised: what dominates, how much, and how much more a belief promises.

    m           objectives, at least 2
    values      n x m       observed points, finite
    reference   m           what a point must exceed in every objective to count, finite
    lower, u.   b x m       corners l and u of disjoint boxes; together the region above the reference that no row
                            dominates
    y           m           an outcome, believed to be normal and independent by objective
    EI(a)       E[(y - a)+] of one objective; EI(inf) = 0

An outcome y adds the volume of what is at most y of the boxes, sum_boxes prod_i (min(y_i, u_i) - l_i)+, and
(min(y, u) - l)+ = (y - l)+ - (y - u)+, so the expected hypervolume improvement is

    EHVI = sum_boxes prod_i (EI(l_i) - EI(u_i))

(Yang et al. 2019, https://arxiv.org/abs/1904.12672). Unlike there, it is computed in logarithms.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autokd.optimizers import expected_improvement as improvement
from autokd.optimizers.arrays import Array

__all__ = ["boxes", "front", "hypervolume", "log_expected_improvement", "reference_point"]

_MARGIN = 0.1  # of an inferred reference point

_Corner = tuple[float, ...]
_Box = tuple[_Corner, _Corner]  # lower, upper


def front(values: Array) -> NDArray[np.bool_]:
    """Which rows no other row dominates, `n`; of equal rows only the first.

    In falling lexicographic order (of the last objective first, but any would do) a row can only be dominated by one
    before it, so the first row left is always on the front, and what exceeds it nowhere goes.
    """
    kept = np.zeros(len(values), dtype=bool)
    left = np.lexsort(-values.T)
    while len(left):
        best = left[0]
        kept[best] = True
        left = left[(values[left] > values[best]).any(axis=1)]
    return kept


def reference_point(values: Array, given: Sequence[float] | None = None) -> Array:
    """The given point, or one a tenth of the front's extent below the worst of each of its objectives, `m`.

    Where the front has no extent, a tenth of the value, or of 1 if that is more; the origin if there are no values.
    """
    if given is not None:
        return np.array(given, dtype=np.float64)
    if not len(values):
        return np.zeros(values.shape[1])
    best = values[front(values)]
    worst = best.min(axis=0)
    extent = best.max(axis=0) - worst
    point: Array = worst - _MARGIN * np.where(extent > 0, extent, np.maximum(np.abs(worst), 1.0))
    return point


def hypervolume(values: Array, reference: Array) -> float:
    """Volume of what exceeds the reference and some row dominates (Zitzler and Thiele 1998); 0 of no rows."""
    return _volume(_front_above(values, reference) - reference)


def boxes(values: Array, reference: Array) -> tuple[Array, Array]:
    """Lower and upper corners, `b x m` each, of boxes that cover just what exceeds the reference and no row dominates.

    The boxes are disjoint but for their faces, and an upper corner may be infinite. The last objective is cut at the
    rows' values; between two cuts the same rows dominate, so the cross-section is the same problem with one objective
    less. A box that stays in the cross-section over many slices is one box. For two and three objectives and a front
    of n rows this gives n + 1 and at most 2n + 1 boxes, as the algorithms of Yang et al. 2019 do. Unlike them, it makes
    each cross-section anew rather than from the one above, which is slower but short, and it cuts four and more
    objectives in the same way, where they keep local upper bounds.
    """
    corners = np.array(_boxes(_front_above(values, reference), reference))
    return corners[:, 0], corners[:, 1]


def log_expected_improvement(mean: Array, deviation: Array, lower: Array, upper: Array) -> Array:
    """Logarithm of the expected hypervolume improvement of independent normal beliefs, `p`.

    Each factor is log EI(l) + log(1 - EI(u) / EI(l)), and their sums are added up without leaving the logarithm. So
    nothing underflows: of points far below the front, too, one with a larger mean scores higher.

    Args:
        mean: Of each point's objectives, `p x m`.
        deviation: Positive, `p x m`.
        lower: Corners as of `boxes`, `b x m`.
        upper: The same boxes' other corners, `b x m`.
    """
    logs = np.zeros((len(mean), len(lower)))
    for i in range(mean.shape[1]):
        logs += _log_expected_extent(mean[:, i], deviation[:, i], lower[:, i], upper[:, i])
    scores: Array = np.logaddexp.reduce(logs, axis=1)
    return scores


def _front_above(values: Array, reference: Array) -> Array:
    """The front of the rows that exceed the reference in every objective; the others dominate nothing that counts."""
    above = values[(values > reference).all(axis=1)]
    return above[front(above)]


def _volume(gains: Array) -> float:
    """Hypervolume above 0 of positive rows, by slicing objectives (While et al. 2006) down to the last two."""
    if gains.shape[1] == 2:
        falling = gains[np.argsort(-gains[:, 1])]
        heights = -np.diff(falling[:, 1], append=0.0)
        return float(np.maximum.accumulate(falling[:, 0]) @ heights)
    cuts = np.unique(gains[:, -1])
    sections = [_volume(gains[gains[:, -1] >= cut, :-1]) for cut in cuts]
    return float(np.diff(cuts, prepend=0.0) @ sections)


def _boxes(points: Array, reference: Array) -> list[_Box]:
    """As of `boxes`, of points that exceed the reference, from above in the last objective."""
    if len(reference) == 1:
        return [((float(points.max(initial=reference[0])),), (math.inf,))]
    cuts = [float(reference[-1]), *np.unique(points[:, -1]).tolist(), math.inf]
    tops: dict[_Box, float] = {}  # of the boxes of the cross-section
    done = []
    for top in reversed(cuts[1:]):
        section = dict.fromkeys(_boxes(points[points[:, -1] >= top, :-1], reference[:-1]))
        done += [_extended(box, top, tops.pop(box)) for box in list(tops) if box not in section]
        tops = dict.fromkeys(section, top) | tops
    return done + [_extended(box, cuts[0], top) for box, top in tops.items()]


def _extended(section: _Box, bottom: float, top: float) -> _Box:
    lower, upper = section
    return (*lower, bottom), (*upper, top)


def _log_expected_extent(mean: Array, deviation: Array, lower: Array, upper: Array) -> Array:
    """log(EI(l) - EI(u)) of one objective, `p x b`; minus infinity where l and u are too close to tell apart."""
    levels, places = np.unique(np.concatenate([lower, upper]), return_inverse=True)  # boxes share most of their levels
    logs = np.stack([_log_improvement(mean, deviation, float(level)) for level in levels], axis=1)
    at_lower, at_upper = logs[:, places[: len(lower)]], logs[:, places[len(lower) :]]
    with np.errstate(divide="ignore"):
        extents: Array = at_lower + np.log(-np.expm1(np.minimum(at_upper - at_lower, 0)))
    return extents


def _log_improvement(mean: Array, deviation: Array, level: float) -> Array:
    if math.isinf(level):
        return np.full(len(mean), -math.inf)
    return improvement.log_expected_improvement(mean, deviation, level)
