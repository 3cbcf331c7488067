"""SMAC3, https://arxiv.org/abs/2109.09831, as a peer: random forests, and expected improvement by local search."""

import tempfile
import weakref
from typing import Any

from optuna.distributions import CategoricalDistribution
from peers import Peer, Proposal, all_choices, imported
from tasks import Measurement, Task

__all__ = ["SmacPeer"]

N_TRIALS = 200
"""SMAC wants to know its budget, of which it spends at most a quarter on its initial design."""


class SmacPeer(Peer):
    """Its facade for hyper-parameters with the defaults, but each point is evaluated once, as by everybody here."""

    def __init__(self, task: Task, seed: int, workers: int) -> None:
        smac = imported("smac", "smac", "smac")
        self._history = imported("smac.runhistory", "smac", "smac")
        self._choices = all_choices(task, "smac")
        self._infos: list[Any] = []
        folder = tempfile.TemporaryDirectory()
        weakref.finalize(self, folder.cleanup)
        options = {"deterministic": True, "n_trials": N_TRIALS, "seed": seed, "output_directory": folder.name}
        scenario = smac.Scenario(_space(task, seed), **options)
        self._smac = smac.HyperparameterOptimizationFacade(
            scenario, lambda config, seed: 0.0, overwrite=True, logging_level=False
        )

    def ask(self) -> Proposal:
        """Its next configuration."""
        info = self._smac.ask()
        self._infos.append(info)
        params = {name: values[int(info.config[name])] for name, values in self._choices.items()}
        return Proposal(len(self._infos) - 1, params)

    def tell(self, number: int, measurement: Measurement) -> None:
        """Its cost; a point that breaks a limit has crashed."""
        broken = measurement.violation > 0
        status = self._history.StatusType.CRASHED if broken else self._history.StatusType.SUCCESS
        self._smac.tell(self._infos[number], self._history.TrialValue(-measurement.value, status=status))


def _space(task: Task, seed: int) -> Any:
    """The indices of the choices: integers, or categories where the choices have no order."""
    config_space = imported("ConfigSpace", "smac", "smac")
    space = config_space.ConfigurationSpace(seed=seed)
    for name, values in all_choices(task, "smac").items():
        unordered = isinstance(task.space[name], CategoricalDistribution)
        space.add(
            config_space.Categorical(name, list(range(len(values))))
            if unordered
            else config_space.Integer(name, (0, len(values) - 1))
        )
    return space
