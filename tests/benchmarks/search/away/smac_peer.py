# /// script
# dependencies = ["smac==2.4.1"]
# ///
"""SMAC3, https://arxiv.org/abs/2109.09831: random forests, and expected improvement by local search.

Its facade for hyper-parameters with the defaults, but with ten initial points in place of a quarter of the budget, and
each point is evaluated once, as by everybody here.
"""

import tempfile

import smac
from ConfigSpace import Categorical, ConfigurationSpace, Float, Integer
from serving import Space, serve
from smac.runhistory import StatusType, TrialValue

N_INITIAL, N_TRIALS = 10, 1_000


class Smac:
    """SMAC3."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._infos = space, []
        self._folder = tempfile.TemporaryDirectory()
        known = ConfigurationSpace(seed=seed)
        for parameter in space.parameters:
            known.add(_parameter(*parameter))
        folder = self._folder.name
        scenario = smac.Scenario(known, deterministic=True, n_trials=N_TRIALS, seed=seed, output_directory=folder)
        facade = smac.HyperparameterOptimizationFacade
        initial = facade.get_initial_design(scenario, n_configs=N_INITIAL)
        self._smac = facade(
            scenario, lambda config, seed: 0.0, initial_design=initial, overwrite=True, logging_level=False
        )

    def ask(self):
        self._infos.append(self._smac.ask())
        return self._space.point(dict(self._infos[-1].config))

    def tell(self, number, value):
        status = StatusType.CRASHED if value is None else StatusType.SUCCESS
        self._smac.tell(self._infos[number], TrialValue(0.0 if value is None else -value, status=status))


def _parameter(name, size, ordered):
    if size is None:
        return Float(name, (0, 1))
    return Integer(name, (0, size - 1)) if ordered else Categorical(name, list(range(size)))


serve(Smac)
