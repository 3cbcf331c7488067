"""`Architecture`, the format of every network: an immutable graph of operations with widths, without weights.

Every search space produces it. The network builder, the cost model, the source generator, the drawing and the digest
read nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from keyword import iskeyword
from math import prod
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from search_spaces.architecture.digest import hashed, refined_colours
from search_spaces.architecture.layers import Shape
from search_spaces.architecture.networkx_form import from_graph, to_graph
from search_spaces.architecture.operations import (
    INPUT,
    MERGES,
    ORDERED,
    Profile,
    known_operation,
    merged_shape,
    profile,
)
from search_spaces.errors import SpaceError

if TYPE_CHECKING:
    from networkx import DiGraph

__all__ = ["RESERVED", "SCHEMA", "Architecture", "Node"]

SCHEMA = 1
"""Version of the stored form; a change of the fields raises it, and `from_dict` then reads the older versions, too."""

LARGEST = 2**31
"""Largest number of a stored architecture."""

RESERVED = frozenset(
    {"F", "ChannelShuffle", "SelfAttention", "Slice", "Tensor", "Zero", "concatenated", "gates", "mean"}
    | {"merge_weights", "nn", "product", "self", "summed", "torch", "weighted_sum"}
)
"""Names that nodes cannot have because the generated source uses them."""


@dataclass(frozen=True)
class Node:
    """One step: merge the inputs, then run the operation.

    Attributes:
        operation: Name in `operations.OPERATIONS`, or `input` for node 0.
        inputs: Indices of earlier nodes; their order matters for the merges in `operations.ORDERED`.
        channels: Output channels; the number of classes for the last node.
        stride: Factor by which the operation divides the resolution, rounding up.
        merge: Name in `operations.MERGES`; `none` for a single input.
        stage: Part of the network that the node belongs to, from 0; it has no effect on the computation.
        name: Identifier of the node's module and weights; `node<index>` if empty.
    """

    operation: str
    inputs: tuple[int, ...]
    channels: int
    stride: int = 1
    merge: str = "none"
    stage: int = 0
    name: str = ""


@dataclass(frozen=True)
class Architecture:
    """A network as a value: nodes in execution order, of which the first is the input and the last gives the logits.

    Everything that has a cost is a node, including pooling to a lower resolution and projections between widths. Two
    architectures with the same `digest` are the same network with its nodes renumbered.

    Attributes:
        input_shape: Shape of one sample: (channels, height, width) of an image, (channels, length) of a signal, or
            (features,) of a vector.
        classes: Number of logits.
        nodes: The input and at least one more node; every node but the last is an input of a later one.
        space: Name of the search space that produced the architecture; it has no effect on the computation.

    Raises:
        SpaceError: If a rule of `Node` or of the attributes above is broken.
    """

    input_shape: Shape
    classes: int
    nodes: tuple[Node, ...]
    space: str = ""

    def __post_init__(self) -> None:
        if not 1 <= len(self.input_shape) <= 3 or min(self.input_shape) < 1:
            raise SpaceError(
                "`input_shape` must be (channels, height, width), (channels, length) or (features,), all >= 1, "
                f"but got {self.input_shape}."
            )
        if self.classes < 1:
            raise SpaceError(f"`classes >= 1` must hold, but got {self.classes}.")
        if len(self.nodes) < 2:
            raise SpaceError(f"An architecture needs an input and at least one more node, but got {len(self.nodes)}.")
        if self.nodes[0] != Node(INPUT, (), self.input_shape[0], name=self.nodes[0].name):
            raise SpaceError(
                f"Node 0 must be an `input` node of {self.input_shape[0]} channels, but got {self.nodes[0]}."
            )
        for number, node in enumerate(self.nodes[1:], 1):
            _check_node(number, node)
        _check_names(self.names)
        used = {source for node in self.nodes for source in node.inputs}
        if unused := set(range(len(self.nodes) - 1)) - used:
            raise SpaceError(f"Every node but the last must be used, but no node reads {sorted(unused)}.")
        if self.shapes()[-1] != (self.classes,):
            raise SpaceError(f"The last node must give ({self.classes},) logits, but gives {self.shapes()[-1]}.")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Name of each node."""
        return tuple(node.name or f"node{number}" for number, node in enumerate(self.nodes))

    @cached_property
    def _steps(self) -> tuple[tuple[Shape, Profile], ...]:
        """Shape of the merged inputs of each node, and the profile of its operation; an input only takes memory."""
        image = prod(self.input_shape)
        steps = [(self.input_shape, Profile(self.input_shape, 0, 0, 0, image, image))]
        for number, node in enumerate(self.nodes[1:], 1):
            try:
                shape = merged_shape(node.merge, [steps[source][1].output for source in node.inputs])
                steps.append((shape, profile(node.operation, shape, node.channels, node.stride)))
            except SpaceError as error:
                raise SpaceError(f"Node {number}: {error}") from None
        return tuple(steps)

    def profiles(self) -> tuple[Profile, ...]:
        """Profile of each node's operation."""
        return tuple(step for _, step in self._steps)

    def shapes(self) -> tuple[Shape, ...]:
        """Shape of each node's output for one sample."""
        return tuple(step.output for _, step in self._steps)

    def entering(self) -> tuple[Shape, ...]:
        """Shape of each node's merged inputs for one sample; for node 0 that of the network's input."""
        return tuple(shape for shape, _ in self._steps)

    def levels(self) -> tuple[int, ...]:
        """Length of the longest path from the input to each node, which a drawing uses as the node's level."""
        levels: list[int] = []
        for node in self.nodes:
            levels.append(1 + max((levels[source] for source in node.inputs), default=-1))
        return tuple(levels)

    @cached_property
    def digest(self) -> str:
        """32 hex digits that do not depend on the order and names of the nodes, on stages, or on the space.

        It is made of refined colours (`digest.py`), so isomorphic graphs always have the same digest. Different graphs
        share one only if refinement cannot distinguish them, as with two 6-cycles in place of a 12-cycle between
        otherwise equal nodes; random graphs are hardly ever so regular.
        """
        own = [hashed(node.operation, node.channels, node.stride, node.merge) for node in self.nodes]
        ordered = [node.merge in ORDERED for node in self.nodes]
        colours = refined_colours(own, [node.inputs for node in self.nodes], ordered)
        return hashed(self.input_shape, self.classes, *sorted(colours))

    def to_dict(self) -> dict[str, Any]:
        """The architecture as plain lists, numbers and strings, with the schema version."""
        return {
            "schema": SCHEMA,
            "space": self.space,
            "input_shape": list(self.input_shape),
            "classes": self.classes,
            "nodes": [{**vars(node), "inputs": list(node.inputs)} for node in self.nodes],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Architecture:
        """Architecture from the result of `to_dict`.

        Raises:
            SpaceError: If the schema version is not supported, or a field is missing, unknown or of the wrong type.
        """
        if data.get("schema") != SCHEMA:
            raise SpaceError(
                f"The architecture's schema must be {SCHEMA}, but got {data.get('schema')!r}. Update autokd."
            )
        _check_keys("architecture", data, {"schema", "space", "input_shape", "classes", "nodes"})
        try:
            shape = tuple(map(_whole, data["input_shape"]))
            nodes = tuple(_read_node(node) for node in data["nodes"])
            return cls(shape, _whole(data["classes"]), nodes, str(data["space"]))
        except SpaceError:
            raise
        except (TypeError, ValueError, AttributeError) as error:
            raise SpaceError(f"Not an architecture: {error}.") from error

    def to_json(self) -> str:
        """The result of `to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Architecture:
        """Architecture from the result of `to_json`.

        Raises:
            SpaceError: If the text is not JSON, or for the reasons of `from_dict`.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SpaceError(f"Not JSON: {error}.") from error
        if not isinstance(data, dict):
            raise SpaceError(f"An architecture is a JSON object, but got {type(data).__name__}.")
        return cls.from_dict(data)

    def to_networkx(self) -> DiGraph[int]:
        """The architecture as a graph of networkx, whose nodes are 0, 1, ... in execution order.

        A node has the attributes of `Node` but its inputs, and besides `shape` (of its output for one sample), `params`
        and `macs`, which sum up to the network's. An edge's `position` is that among the inputs of the node where it
        ends. The graph has the attributes `schema`, `space`, `input_shape` and `classes`.

        Raises:
            SpaceError: If networkx is not installed.
        """
        gates = [len(node.inputs) if node.merge == "weighted_sum" else 0 for node in self.nodes]
        known = [
            {"shape": step.output, "params": step.parameters + weights, "macs": step.macs}
            for step, weights in zip(self.profiles(), gates, strict=True)
        ]
        return to_graph(self.to_dict(), known)

    @classmethod
    def from_networkx(cls, graph: DiGraph[Any]) -> Architecture:
        """Architecture from a graph as `to_networkx` returns it, which may have been changed or built by hand.

        Nodes may have any labels. They run in the order in which they were added, except that inputs come first;
        messages number them so. `stride`, `merge`, `stage` and `name` may be missing, with the defaults of `Node`, and
        so may the graph's `schema` and `space`, and the `position` of an only input. Further attributes are ignored.

        Raises:
            SpaceError: If networkx is not installed, the graph has a cycle, a node lacks an attribute or the order of
                its inputs, or for the reasons of `from_dict`.
        """
        defaults = {field.name: field.default for field in fields(Node) if field.default is not MISSING}
        return cls.from_dict({"schema": SCHEMA, "space": ""} | from_graph(graph, defaults))


def _check_node(number: int, node: Node) -> None:
    known_operation(node.operation)
    if node.merge not in MERGES:
        raise SpaceError(f"Unknown merge {node.merge!r} of node {number}. Known: {', '.join(MERGES)}.")
    if not node.inputs or min(node.inputs) < 0 or max(node.inputs) >= number:
        raise SpaceError(f"A node's inputs must be one or more earlier nodes, but node {number} has {node.inputs}.")
    if len(set(node.inputs)) != len(node.inputs):
        raise SpaceError(f"A node's inputs must differ, but node {number} has {node.inputs}.")
    if (node.merge == "none") != (len(node.inputs) == 1):
        raise SpaceError(
            f"`merge` must be 'none' for a single input only, but node {number} has {node.merge!r} for {node.inputs}."
        )
    if node.channels < 1 or node.stride < 1 or node.stage < 0:
        raise SpaceError(f"`channels, stride >= 1` and `stage >= 0` must hold, but node {number} is {node}.")


def _check_names(names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        raise SpaceError(
            f"Nodes' names must differ, but got {sorted({name for name in names if names.count(name) > 1})} twice."
        )
    for name in names:
        if not name.isidentifier() or iskeyword(name) or name.startswith("_") or name in RESERVED:
            raise SpaceError(
                "A node's name must be a Python identifier that is not reserved and has no leading underscore, "
                f"but got {name!r}."
            )
        if name != (normal := normalize("NFKC", name)):
            raise SpaceError(f"A node's name must be as Python reads it: {normal!a} in place of {name!a}.")


def _check_keys(kind: str, data: Mapping[str, Any], expected: set[str]) -> None:
    if set(data) != expected:
        missing, extra = sorted(expected - set(data)), sorted(set(data) - expected)
        raise SpaceError(f"The fields of a stored {kind} do not match: missing {missing}, unknown {extra}.")


def _read_node(data: Mapping[str, Any]) -> Node:
    _check_keys("node", data, {field.name for field in fields(Node)})
    inputs = tuple(map(_whole, data["inputs"]))
    return Node(
        str(data["operation"]),
        inputs,
        _whole(data["channels"]),
        _whole(data["stride"]),
        str(data["merge"]),
        _whole(data["stage"]),
        str(data["name"]),
    )


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise SpaceError(f"Not an architecture: expected a whole number, but got {value!r}.")
    if value > LARGEST:
        raise SpaceError(f"A number of an architecture must be at most 2**31, but got {value}.")
    return value
