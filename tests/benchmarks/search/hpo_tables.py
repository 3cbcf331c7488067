"""Tasks from tables of hyper-parameters.

* HPOLib, https://arxiv.org/abs/1905.04970, in `hpolib_slice_protein.npz` and `hpolib_space.json`
* TaskSet, https://arxiv.org/abs/2002.11887, the part that DyHPO, https://arxiv.org/abs/2202.09774, used: the validation
  curves of 1,000 settings of Adam with eight parameters ("Adam8p") on 12 recurrent networks for text, in
  `taskset_lc.npz`
"""

import json
from pathlib import Path

import numpy as np
from grids import order
from ladder import Rungs
from nearest import NearestTask
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from tasks import Array, Task

__all__ = ["TASKSET_NETWORKS", "hpolib", "taskset"]

TASKSET_NETWORKS = (
    "patch128_LSTM128_avg_bs64",
    "patch128_LSTM128_bs64",
    "patch128_LSTM128_embed128_bs64",
    "patch32_GRU128_bs128",
    "patch32_GRU64_avg_bs128",
    "patch32_IRNN64_relu_avg_bs128",
    "patch32_IRNN64_relu_last_bs128",
    "patch32_LSTM128_E128_bs128",
    "patch32_LSTM128_bs128",
    "patch32_VRNN128_tanh_bs128",
    "patch32_VRNN64_relu_avg_bs128",
    "patch32_VRNN64_tanh_avg_bs128",
)
"""The table's names for the networks, without what is common to all."""

_TASKSET_RUNGS = (2, 6, 17, 50)  # a third each
_DIVERGED = 10.0
"""A loss of more than so many times the one before training counts as this, and so does one that is not a number.
The finite losses reach 1e34, and nobody would tell an optimiser such a number."""


def hpolib(folder: Path, name: str, data: str) -> Task:
    """Minus the decimal logarithm of the validation loss."""
    grid = json.loads((folder / "hpolib_space.json").read_text())
    space = {parameter: _distribution(values) for parameter, values in grid.items()}
    with np.load(folder / "hpolib_slice_protein.npz") as table:
        rows = order(space, table["index"])
        losses = table[f"{data}/val_loss"].astype(np.float64)[rows]
        seconds = table[f"{data}/train_time"].astype(np.float64)[rows]
    return Task(f"hpolib-{name}", space, -np.log10(losses), seconds)


def _distribution(values: list[float] | list[str]) -> BaseDistribution:
    """An HPOLib parameter as what it is, where Optuna has a grid for it.

    Widths and batch sizes are all powers of two: integers, by exponent. The dropout rates are equally spaced. The
    learning rates are all but equally spaced in logarithm: integers, by rank.
    """
    if any(isinstance(value, str) for value in values):
        return CategoricalDistribution(values)
    numbers = np.array(values, dtype=np.float64)
    if numbers[0] >= 1 and _equally_spaced(np.log2(numbers)):
        return IntDistribution(round(np.log2(numbers[0])), round(np.log2(numbers[-1])))
    if _equally_spaced(numbers):
        return FloatDistribution(numbers[0], numbers[-1], step=numbers[1] - numbers[0])
    return IntDistribution(0, len(numbers) - 1)


def _equally_spaced(numbers: Array) -> bool:
    return bool(np.allclose(np.diff(numbers), numbers[1] - numbers[0]))


def taskset(folder: Path, name: str, network: str) -> NearestTask:
    """Minus the decimal logarithm of the last validation loss, with rungs along the curve.

    A curve has 51 losses, the first before training and then one every 200 steps; a training goes on along it, and each
    interval takes one second, since the table has no times. Unlike DyHPO, which searches among the 1,000 settings that
    do not diverge by the raw loss, the space is all of the parameters' logarithms; for the two decay rates of Adam's
    means, of what they lack to 1, since the recorded settings are drawn so.
    """
    with np.load(folder / "taskset_lc.npz") as table:
        names, settings = [str(parameter) for parameter in table["hp_names"]], table["hp"].astype(np.float64)
        losses = table[f"FixedTextRNNClassification_imdb_{network}/valid"].astype(np.float64)
    betas = [names.index(beta) for beta in ("beta1", "beta2")]
    settings[:, betas] = 1.0 - settings[:, betas]
    names = [f"one_minus_{parameter}" if parameter.startswith("beta") else parameter for parameter in names]
    values = -np.log10(_bounded(losses)[:, _TASKSET_RUNGS])
    return NearestTask(
        name=name,
        space={parameter: _log_uniform(column) for parameter, column in zip(names, settings.T, strict=True)},
        values=values[:, -1:],
        seconds=np.full((len(values), 1), float(_TASKSET_RUNGS[-1])),
        ladder=Rungs(_TASKSET_RUNGS, values[:, :-1], continues=True),
        settings=[dict(zip(names, setting, strict=True)) for setting in settings.tolist()],
    )


def _bounded(losses: Array) -> Array:
    bound = _DIVERGED * np.median(losses[:, 0])
    return np.asarray(np.minimum(np.where(np.isnan(losses), bound, losses), bound))


def _log_uniform(recorded: Array) -> FloatDistribution:
    return FloatDistribution(float(recorded.min()), float(recorded.max()), log=True)
