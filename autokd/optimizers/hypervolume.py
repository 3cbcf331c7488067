"""Pareto fronts of several maximised objectives: dominance, hypervolume, and expected hypervolume improvement.

    m           objectives, at least 2
    values      n x m       observed points, finite
    reference   m           reference point; a point counts only if it exceeds it in every objective, finite
    lower, u.   b x m       corners l and u of disjoint boxes, which cover the region that exceeds the reference and
                            that no row dominates
    y           m           an outcome: normally distributed, independent between objectives
    EI(a)       E[(y - a)+] of one objective; EI(inf) = 0

An outcome y adds the volume of the parts of the boxes below y, sum_boxes prod_i (min(y_i, u_i) - l_i)+. Since
(min(y, u) - l)+ = (y - l)+ - (y - u)+, the expected hypervolume improvement is

    EHVI = sum_boxes prod_i (EI(l_i) - EI(u_i))

(Yang et al. 2019, https://arxiv.org/abs/1904.12672). [ours] It is computed in logarithms.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autokd.optimizers.arrays import Array
from autokd.optimizers.expected_improvement import log_expected_improvement

__all__ = [
    "boxes",
    "exclusive_hypervolume",
    "front",
    "hypervolume",
    "log_expected_hypervolume_improvement",
    "order_by_fronts",
    "reference_point",
]

_MARGIN = 0.1  # distance of an inferred reference point from the front, as a share of the front's extent

_Corner = tuple[float, ...]
_Box = tuple[_Corner, _Corner]  # lower, upper


def front(values: Array) -> NDArray[np.bool_]:
    """Mask of the rows that no other row dominates, `n`; of equal rows only the first is kept.

    In descending lexicographic order a row can only be dominated by an earlier one. So the first of the remaining rows
    is always on the front, and the rows that exceed it in no objective are removed.
    """
    kept = np.zeros(len(values), dtype=bool)
    left = np.lexsort(-values.T)
    while len(left):
        best = left[0]
        kept[best] = True
        left = left[(values[left] > values[best]).any(axis=1)]
    return kept


def order_by_fronts(values: Array) -> NDArray[np.int64]:
    """Indices of the rows from the best to the worst, `n`: any number of the first ones are good and spread evenly.

    The rows that no other dominates come first, then those that only these dominate, and so on. Within such a front the
    first row is the best one in the first objective, and each further row is the one farthest from all before it, with
    each objective scaled to the front's extent: the epsilon net by which multi-objective ASHA orders a front (Schmucker
    et al. 2021, https://arxiv.org/abs/2106.12639). [ours] The first row is chosen by the first objective rather than
    at random. Equal rows are of successive fronts, in their order. Rows that are not finite come last.
    """
    finite = np.isfinite(values).all(axis=1)
    left, order = np.flatnonzero(finite), []
    while len(left):
        best = front(values[left])
        order.append(left[best][_spread(values[left[best]])])
        left = left[~best]
    return np.concatenate([*order, np.flatnonzero(~finite)])


def exclusive_hypervolume(values: Array, reference: Array) -> Array:
    """Volume that each row of the front adds to that of the front's other rows, `n`; 0 for a row behind the front.

    What rows behind the front would regain without it counts, too. Of equal rows only the first is in the front.

    Args:
        values: Values, `n x m`.
        reference: Reference point, `m`.
    """
    exclusive = np.zeros(len(values))
    best = np.flatnonzero(front(values))
    total = hypervolume(values[best], reference)
    for place in best:
        exclusive[place] = total - hypervolume(values[best[best != place]], reference)
    return exclusive


def reference_point(values: Array, given: Sequence[float] | None = None) -> Array:
    """The given reference point, or an inferred one, `m`.

    The inferred point lies below the front's smallest value of each objective, by a tenth of the front's extent. Where
    the extent is 0, the distance is a tenth of the value's magnitude, or 0.1 if that is larger. Without values the
    point is the origin.
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
    """Volume of the region between the reference point and the rows' front (Zitzler and Thiele 1998); 0 if empty."""
    return _volume(_front_above(values, reference) - reference)


def boxes(values: Array, reference: Array) -> tuple[Array, Array]:
    """Lower and upper corners, `b x m` each, of boxes that partition the region above the reference no row dominates.

    The boxes share faces only, and an upper corner may be infinite. The last objective is cut at the rows' values;
    between two cuts the same rows dominate, so the cross-section is the same problem with one objective less. A box
    that is part of the cross-section over several slices becomes one box. For a front of n rows this gives n + 1 boxes
    for two objectives and at most 2n + 1 for three, like the algorithms of Yang et al. 2019. [ours] Each cross-section
    is computed from scratch rather than from the one above, which is slower but short; four and more objectives are cut
    in the same way, where the paper maintains local upper bounds.
    """
    corners = np.array(_boxes(_front_above(values, reference), reference))
    return corners[:, 0], corners[:, 1]


def log_expected_hypervolume_improvement(mean: Array, deviation: Array, lower: Array, upper: Array) -> Array:
    """Logarithm of the expected hypervolume improvement of independent normal objectives, `p`.

    Each factor is log EI(l) + log(1 - EI(u) / EI(l)), and the sum over boxes is a log-sum-exp. So nothing underflows,
    and far below the front, too, a point with a larger mean has a larger value.

    Args:
        mean: Means of the objectives at each point, `p x m`.
        deviation: Their standard deviations, positive, `p x m`.
        lower: Lower corners of `boxes`, `b x m`.
        upper: Upper corners of the same boxes, `b x m`.
    """
    logs = np.zeros((len(mean), len(lower)))
    for i in range(mean.shape[1]):
        logs += _log_expected_extent(mean[:, i], deviation[:, i], lower[:, i], upper[:, i])
    scores: Array = np.logaddexp.reduce(logs, axis=1)
    return scores


def _spread(values: Array) -> NDArray[np.int64]:
    """Indices of the rows of a front, `n`: the best one in the first objective, then always the farthest."""
    extent = np.ptp(values, axis=0)
    scaled = (values - values.min(axis=0)) / np.where(extent > 0, extent, 1.0)
    order = [int(values[:, 0].argmax())]
    distance = np.full(len(values), np.inf)
    while len(order) < len(values):
        distance = np.minimum(distance, np.linalg.norm(scaled - scaled[order[-1]], axis=1))
        distance[order] = -np.inf
        order.append(int(distance.argmax()))
    return np.array(order)


def _front_above(values: Array, reference: Array) -> Array:
    """Front of the rows that exceed the reference in every objective; the others have no hypervolume."""
    above = values[(values > reference).all(axis=1)]
    return above[front(above)]


def _volume(gains: Array) -> float:
    """Hypervolume of positive rows above the origin, by slicing objectives down to two (While et al. 2006)."""
    if gains.shape[1] == 2:
        falling = gains[np.argsort(-gains[:, 1])]
        heights = -np.diff(falling[:, 1], append=0.0)
        return float(np.maximum.accumulate(falling[:, 0]) @ heights)
    cuts = np.unique(gains[:, -1])
    sections = [_volume(gains[gains[:, -1] >= cut, :-1]) for cut in cuts]
    return float(np.diff(cuts, prepend=0.0) @ sections)


def _boxes(points: Array, reference: Array) -> list[_Box]:
    """The boxes of `boxes` for points that exceed the reference, from the top of the last objective down."""
    if len(reference) == 1:
        return [((float(points.max(initial=reference[0])),), (math.inf,))]
    cuts = [float(reference[-1]), *np.unique(points[:, -1]).tolist(), math.inf]
    tops: dict[_Box, float] = {}  # upper end in the last objective of each box of the cross-section
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
    """log(EI(l) - EI(u)) of one objective, `p x b`; minus infinity where the difference rounds to 0."""
    levels, places = np.unique(np.concatenate([lower, upper]), return_inverse=True)  # boxes share most of their levels
    logs = np.stack([_log_improvement(mean, deviation, float(level)) for level in levels], axis=1)
    at_lower, at_upper = logs[:, places[: len(lower)]], logs[:, places[len(lower) :]]
    with np.errstate(divide="ignore"):
        extents: Array = at_lower + np.log(-np.expm1(np.minimum(at_upper - at_lower, 0)))
    return extents


def _log_improvement(mean: Array, deviation: Array, level: float) -> Array:
    if math.isinf(level):
        return np.full(len(mean), -math.inf)
    return log_expected_improvement(mean, deviation, level)
