"""Importance of each searched dimension, according to the surrogate.

    u       d            a point: a value of every dimension, active or not, independent and uniform over the space
    f(u)                 posterior mean score at the last step of a trial with u's active values; the values of
                         inactive dimensions have no effect
    V                    variance of f over all u

The importance of a dimension is its Shapley effect divided by V (Owen 2014, https://doi.org/10.1137/130936233): the
additional variance that the dimension explains, given those before it, averaged over all orders of the dimensions. The
effects sum to V, and interactions are shared evenly among their dimensions. So a conditional dimension counts in
proportion to how often it is active, and shares its effect with its parent. A dimension of which all trials have the
same value is held there, and has no effect: away from it, f only goes back to the mean of all.

Optuna's evaluators are not suitable: they omit every parameter that some trial lacks, and they compare values of trials
that were trained for different numbers of epochs.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from optuna.study import Study
from optuna.trial import TrialState
from torch import Tensor
from torch.quasirandom import SobolEngine

from autokd.errors import InputError
from autokd.optimizers.arrays import Array
from autokd.optimizers.earlier import signs_of
from autokd.optimizers.history import History
from autokd.optimizers.models.surrogate import TAILS, Surrogate
from autokd.optimizers.space.conditions import Conditions, parents_of
from autokd.optimizers.space.encoding import Encoding
from search_spaces.design.dimensions import Dimension

__all__ = ["importances", "shapley_effects"]

FEWEST_TRIALS = 4
N_PAIRS = 4096  # pairs of points: the standard error of an importance is about one percent
MOST_OBSERVATIONS = 400  # in the model, whose fit takes time cubic in this
SEED = 0
LEAST_VARIANCE = 1e-9  # of the posterior mean, where scores have variance 1; below it the model sees no differences


def importances(study: Study, dimensions: Mapping[str, Dimension]) -> dict[str, float]:
    """Importance of each dimension, in descending order; they sum to 1, and are deterministic.

    The model uses `TAILS`, so that a few failed trials do not dominate.

    Args:
        study: Study of one objective.
        dimensions: Dimensions of its search space, parents before children.

    Raises:
        InputError: If importances are undefined: fewer than four finished trials, none of them with a value, no
            differences between their values, or no dimension with more than one value.
    """
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    if len(finished) < FEWEST_TRIALS:
        raise InputError(f"importances need {FEWEST_TRIALS} finished trials, but there are {len(finished)}.")
    encoding = Encoding.of({name: d.distribution for name, d in dimensions.items() if not d.distribution.single()})
    if not encoding.dimension:
        raise InputError("importances need a dimension with more than one value, but all are fixed.")
    history = History.of(study.get_trials(deepcopy=False), encoding, signs_of(study))
    if not len(history.X):
        raise InputError(f"importances need trials with a value, but none of {len(finished)} has one.")
    effects = _effects(_model(history, encoding), encoding, dimensions, history.X[:, : encoding.dimension])
    if effects.sum() < LEAST_VARIANCE:
        raise InputError(f"importances need trials of different values, but the model sees {len(finished)} equal ones.")
    shares = dict(zip(encoding.names, (effects / effects.sum()).tolist(), strict=True))
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def shapley_effects(
    function: Callable[[Array], Array], first: Array, second: Array, orders: NDArray[np.int64]
) -> Array:
    """Unbiased estimate of the Shapley effect of each of d independent inputs, `d`; it may be negative.

    Goda 2021, "A simple algorithm for global sensitivity analysis with Shapley effects",
    https://arxiv.org/abs/2009.00874: each first point is changed into its second point one coordinate at a time, in the
    given order. The effects sum to exactly half the mean squared difference of the values of the pairs.

    Args:
        function: Function from points `n x d` to their values, `n`.
        first: Points, `n x d`.
        second: Points independent of the first, `n x d`.
        orders: Permutation of the coordinates for each pair, `n x d`.
    """
    ranks = orders.argsort(axis=1)
    values = np.stack([function(np.where(ranks < k, second, first)) for k in range(first.shape[1] + 1)])
    middle, drop = (values[:-1] + values[1:]) / 2, values[:-1] - values[1:]
    parts = (values[0] - middle) * drop
    effects: Array = np.take_along_axis(parts.T, ranks, axis=1).mean(axis=0)
    return effects


def _model(history: History, encoding: Encoding) -> Surrogate:
    some = np.sort(np.random.default_rng(SEED).permutation(len(history.X))[:MOST_OBSERVATIONS])
    return Surrogate.fit(history.X[some], history.Y[some, 0], encoding.categories, history.has_steps, TAILS)


def _effects(model: Surrogate, encoding: Encoding, dimensions: Mapping[str, Dimension], tried: Tensor) -> Array:
    """Shapley effect of each coordinate, `d`, at least 0.

    Args:
        model: The surrogate.
        encoding: Of the dimensions.
        dimensions: The dimensions.
        tried: Points of the trials, `n x d`.
    """
    engine = SobolEngine(2 * encoding.dimension, scramble=True, seed=SEED)  # type: ignore[no-untyped-call]
    first, second = engine.draw(N_PAIRS, dtype=torch.float64).chunk(2, dim=1)
    rows = np.tile(np.arange(encoding.dimension), (N_PAIRS, 1))
    orders = np.random.default_rng(SEED).permuted(rows, axis=1)
    conditions = Conditions(encoding, parents_of(dimensions))

    def posterior_mean(points: Array) -> Array:
        mean: Array = model.mean(conditions.canonical(torch.from_numpy(points))).numpy()
        return mean

    is_fixed = (tried == tried[0]).all(dim=0)
    first, second = (torch.where(is_fixed, tried[0], encoding.snap(points)) for points in (first, second))
    effects: Array = np.maximum(shapley_effects(posterior_mean, first.numpy(), second.numpy(), orders), 0)
    return effects
