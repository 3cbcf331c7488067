# /// script
# dependencies = ["ax-platform==1.3.1", "torch==2.13.0"]
# ///
"""Ax, https://ax.dev, by its client with the defaults: Sobol points, then BoTorch's Gaussian process."""

import logging

from ax.api.client import Client
from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig
from serving import Space, serve

logging.disable()  # a line for each trial


class Ax:
    """Ax."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._client = Client(random_seed=seed)
        self._client.configure_experiment(parameters=[_parameter(*each) for each in space.parameters])
        self._client.configure_optimization(objective="value")
        self._indices = []

    def ask(self):
        ((index, params),) = self._client.get_next_trials(max_trials=1).items()
        self._indices.append(index)
        return self._space.point(params)

    def tell(self, number, value):
        if value is None:
            self._client.mark_trial_failed(self._indices[number])
        else:
            self._client.complete_trial(self._indices[number], raw_data={"value": value})


def _parameter(name, size, ordered):
    if size is None:
        return RangeParameterConfig(name=name, parameter_type="float", bounds=(0, 1))
    if ordered:
        return RangeParameterConfig(name=name, parameter_type="int", bounds=(0, size - 1))
    return ChoiceParameterConfig(name=name, parameter_type="int", values=list(range(size)), is_ordered=False)


serve(Ax)
