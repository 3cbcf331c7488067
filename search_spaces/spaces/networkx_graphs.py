"""Networks whose stages are drawn by random-graph generators of networkx, which are searched by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.design.graphs import Dag, connected
from search_spaces.design.space import Dimension, Parameters, Value
from search_spaces.errors import SpaceError, needs
from search_spaces.spaces.random_stages import MOST_NODES, RandomStages

__all__ = ["GENERATORS", "Generator", "NetworkxGraphs"]


@dataclass(frozen=True)
class Generator:
    """A random-graph generator of networkx.

    Attributes:
        arguments: Its arguments that are searched, by networkx's own names.
        certain: Values of arguments with which all draws are the same graph.
    """

    arguments: Mapping[str, Dimension]
    certain: Mapping[str, Value] = field(default_factory=dict)


def _share(low: float, high: float, *, smallest: float = 0, largest: float = 1) -> Dimension:
    return Dimension(FloatDistribution(low, high), legal=(smallest, largest))


def _count(low: int, high: int, step: int = 1, *, largest: int = MOST_NODES) -> Dimension:
    return Dimension(IntDistribution(low, high, step=step), legal=(low, largest))


GENERATORS: Mapping[str, Generator] = {
    "barabasi_albert_graph": Generator({"m": _count(1, 7)}),
    "duplication_divergence_graph": Generator({"p": _share(0.2, 0.8, smallest=0.05)}),
    "erdos_renyi_graph": Generator({"p": _share(0.1, 0.9)}, {"p": 1}),
    "newman_watts_strogatz_graph": Generator({"k": _count(2, 8, 2), "p": _share(0.1, 0.9)}, {"p": 0}),
    "powerlaw_cluster_graph": Generator({"m": _count(1, 7), "p": _share(0.1, 0.9)}),
    "random_geometric_graph": Generator({"radius": _share(0.2, 0.6)}),
    "random_partition_graph": Generator(
        {"communities": _count(2, 6), "p_in": _share(0.3, 0.9), "p_out": _share(0.02, 0.2)}, {"p_in": 1, "p_out": 1}
    ),
    "random_regular_graph": Generator({"d": _count(2, 8, 2, largest=32)}),
    "watts_strogatz_graph": Generator({"k": _count(2, 8, 2), "p": _share(0.1, 0.9)}, {"p": 0}),
    "waxman_graph": Generator({"beta": _share(0.2, 1), "alpha": _share(0.05, 0.5, smallest=0.01)}),
}
"""The generators that are offered by name.

Each takes any number of nodes and gives that many, numbered from 0. `k` and `d` are even, since networkx halves `k` and
not every odd `d` exists; graphs of a large `d` take long. With a `p` near 0, `duplication_divergence_graph` would
hardly ever find a node to add. `connected_watts_strogatz_graph` is left out: it draws again until a graph is connected,
and fails if that takes long, while all draws are repaired here.
"""


class NetworkxGraphs(RandomStages):
    """Networks of random stages by the generators of networkx; see `RandomStages` for the layout and the options.

    A dimension's name is the generator's without `_graph`, followed by that of its argument, as in `watts_strogatz_k`;
    `communities` is the number of communities of `random_partition_graph`, whose sizes differ by at most one. Edges
    point from the smaller to the larger node, and a draw that is not connected is repaired as in `design/graphs.py`.
    Equal generator states give equal graphs as long as networkx's version is the same.

    Raises:
        SpaceError: If networkx is not installed.
    """

    name = "networkx"
    fewest_nodes = 6  # with fewer, some generators have a single graph for almost all values
    dimensions: ClassVar[Mapping[str, Dimension]] = {
        "generator": Dimension(CategoricalDistribution(tuple(GENERATORS))),
        **{
            f"{name.removesuffix('_graph')}_{argument}": replace(dimension, parent="generator", values=(name,))
            for name, generator in GENERATORS.items()
            for argument, dimension in generator.arguments.items()
        },
    }

    def describe(self, parameters: Parameters) -> str:
        """The call of the generator without its seed, such as `watts_strogatz_graph(32, k=4, p=0.75)`."""
        name, arguments = self._call(self.complete(parameters))
        numbers = [f"{argument}={value:.2g}" for argument, value in arguments.items()]
        text = f"{name}({', '.join([str(self.nodes), *numbers])})"
        return f"{text}: one member" if self.single_member(parameters) else text

    def single_member(self, parameters: Parameters) -> bool:
        """Whether the generator gives only one graph in every stage."""
        name, arguments = self._call(self.complete(parameters))
        certain = GENERATORS[name].certain
        return bool(certain) and all(arguments[argument] == value for argument, value in certain.items())

    def check_ranges(self) -> None:
        """Raise `SpaceError` if a whole number could be more than half the nodes, or networkx is not installed.

        More are impossible for some generators, and `random_regular_graph` takes long for them.
        """
        with needs(f"Space {self.name!r}", "networkx", "networkx"):
            import networkx  # noqa: F401 - before a search begins
        most = self.smallest_stage // 2
        numbers = {name: self.largest(name) for name in self.dimensions}
        if large := {name: value for name, value in numbers.items() if value > most}:
            found = ", ".join(f"{name} up to {value}" for name, value in large.items())
            raise SpaceError(
                f"Whole numbers must be at most half of the {self.smallest_stage} nodes of a stage, but got {found}. "
                f"Narrow them, as in `{next(iter(large))}=(..., {most})`, or choose generators with `generator=`."
            )

    def graph(self, parameters: Parameters, nodes: int, rng: np.random.Generator) -> Dag:
        """One draw of a stage."""
        import networkx as nx

        name, arguments = self._call(parameters)
        if name == "random_partition_graph":
            arguments["sizes"] = _equal_parts(nodes, int(arguments.pop("communities")))
        else:
            arguments["n"] = nodes
        drawn = getattr(nx, name)(**arguments, seed=rng)
        return connected(nodes, {(min(edge), max(edge)) for edge in drawn.edges}, rng)

    def _call(self, complete: Parameters) -> tuple[str, dict[str, Any]]:
        """Name of the generator and its arguments."""
        name = str(complete["generator"])
        prefix = name.removesuffix("_graph")
        return name, {argument: complete[f"{prefix}_{argument}"] for argument in GENERATORS[name].arguments}


def _equal_parts(total: int, parts: int) -> list[int]:
    size, rest = divmod(total, parts)
    return [size + (part < rest) for part in range(parts)]
