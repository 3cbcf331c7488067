"""RandWire: stages of randomly wired operations (Xie et al. 2019, https://arxiv.org/abs/1904.01569)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.design.graphs import Dag, barabasi_albert, erdos_renyi, watts_strogatz
from search_spaces.design.space import Dimension, Parameters
from search_spaces.errors import SpaceError
from search_spaces.spaces.random_stages import RandomStages

__all__ = ["RandWire"]


class RandWire(RandomStages):
    """Networks of random stages by the paper's three generators; see `RandomStages` for the layout and the options."""

    name = "randwire"
    dimensions: ClassVar[Mapping[str, Dimension]] = {
        "generator": Dimension(CategoricalDistribution(("er", "ba", "ws"))),
        "er_probability": Dimension(FloatDistribution(0.1, 0.9), "generator", ("er",), legal=(0, 1)),
        "ba_edges": Dimension(IntDistribution(1, 7), "generator", ("ba",), legal=(1, 1000)),
        "ws_neighbours": Dimension(IntDistribution(2, 8, step=2), "generator", ("ws",), legal=(2, 1000)),
        "ws_probability": Dimension(FloatDistribution(0.1, 0.9), "generator", ("ws",), legal=(0, 1)),
    }

    def describe(self, parameters: Parameters) -> str:
        """Generator and its parameters, such as `WS(32,4,0.75)`."""
        full = self.complete(parameters)
        numbers = [f"{value:.2g}" for name, value in full.items() if name.startswith(f"{full['generator']}_")]
        text = f"{str(full['generator']).upper()}({','.join([str(self.nodes), *numbers])})"
        return f"{text}: one member" if self.single_member(parameters) else text

    def single_member(self, parameters: Parameters) -> bool:
        """Whether the generator gives only one graph in every stage."""
        full = self.complete(parameters)
        if full["generator"] == "ws":
            return self.nodes <= int(full["ws_neighbours"]) + 1 or full["ws_probability"] == 0
        if full["generator"] == "er":
            return self.nodes <= 2 or full["er_probability"] == 1
        return self.nodes == int(full["ba_edges"]) + 1

    def check_ranges(self) -> None:
        """Raise `SpaceError` if Barabasi-Albert could get as many edges as nodes."""
        most, nodes = self.largest("ba_edges"), self.smallest_stage
        if most >= nodes:
            raise SpaceError(
                f"`ba_edges < nodes` must hold in every stage, but got ba_edges up to {most} for {nodes} nodes. "
                f"Narrow it with `ba_edges=(1, ...)` or choose generators with `generator=`."
            )

    def graph(self, parameters: Parameters, nodes: int, rng: np.random.Generator) -> Dag:
        """One draw of a stage."""
        if parameters["generator"] == "er":
            return erdos_renyi(nodes, float(parameters["er_probability"]), rng)
        if parameters["generator"] == "ba":
            return barabasi_albert(nodes, int(parameters["ba_edges"]), rng)
        return watts_strogatz(nodes, int(parameters["ws_neighbours"]), float(parameters["ws_probability"]), rng)
