"""The one format of a network: a frozen graph of operations with widths, without weights.

Every space emits it; builder, cost, source, drawing and digest read it and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from hashlib import blake2b
from keyword import iskeyword
from typing import Any

from search_spaces.architecture.layers import Shape
from search_spaces.architecture.operations import INPUT, MERGES, ORDERED, known_operation, merged_shape, profile
from search_spaces.errors import SpaceError

__all__ = ["RESERVED", "SCHEMA", "Architecture", "Node"]

SCHEMA = 1
"""Version of the stored form; raise it with every change of the fields and read the older ones in `from_dict`."""

RESERVED = frozenset(
    {"F", "ChannelShuffle", "SelfAttention", "Slice", "Tensor", "Zero", "concatenated", "gates", "mean"}
    | {"merge_weights", "nn", "product", "self", "summed", "torch", "weighted_sum"}
)
"""Names that the generated source uses itself."""


@dataclass(frozen=True)
class Node:
    """One step: merge the inputs, then run the operation.

    Attributes:
        operation: A name of `operations.OPERATIONS`, or `input` for node 0.
        inputs: Numbers of earlier nodes; their order counts for the merges in `operations.ORDERED`.
        channels: Channels that come out; for the last node the classes.
        stride: By how much the operation divides the resolution, rounding up.
        merge: A name of `operations.MERGES`; `none` for one input.
        stage: Which part of the network it belongs to; only for people.
        name: An identifier for people, modules and weights; `node<number>` if empty.
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
    """A network as a value: nodes in execution order, the first is the input, the last one gives the logits.

    Everything that costs something is a node (pooling to a lower resolution, projections between widths), so there is
    nothing to add to it. Two architectures with the same `digest` are the same network with its nodes renumbered.

    Attributes:
        input_shape: Of one sample: channels, height and width of an image; channels and length of a signal; features.
        classes: Number of logits.
        nodes: At least the input and one more; every node but the last is used by a later one.
        space: Name of the space that it came from; only for people.

    Raises:
        SpaceError: If a rule above or of `Node` is broken.
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
            raise SpaceError(f"An architecture has an input node and at least one more, but got {len(self.nodes)}.")
        if self.nodes[0] != Node(INPUT, (), self.input_shape[0], name=self.nodes[0].name):
            raise SpaceError(
                f"Node 0 must be a plain input of {self.input_shape[0]} channels, but got {self.nodes[0]}."
            )
        for number, node in enumerate(self.nodes[1:], 1):
            _check_node(number, node)
        _check_names(self.names)
        used = {source for node in self.nodes for source in node.inputs}
        if unused := set(range(len(self.nodes) - 1)) - used:
            raise SpaceError(f"Every node but the last must be used, but nobody reads {sorted(unused)}.")
        if self.shapes()[-1] != (self.classes,):
            raise SpaceError(f"The last node must give ({self.classes},) logits, but it gives {self.shapes()[-1]}.")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The name of each node."""
        return tuple(node.name or f"node{number}" for number, node in enumerate(self.nodes))

    @cached_property
    def _shapes(self) -> tuple[tuple[Shape, ...], tuple[Shape, ...]]:
        """Of what enters each node, and of what it puts out."""
        entering, leaving = [self.input_shape], [self.input_shape]
        for number, node in enumerate(self.nodes[1:], 1):
            try:
                entering.append(merged_shape(node.merge, [leaving[source] for source in node.inputs]))
            except SpaceError as error:
                raise SpaceError(f"Node {number}: {error}") from None
            leaving.append(profile(node.operation, entering[-1], node.channels, node.stride).output)
        return tuple(entering), tuple(leaving)

    def shapes(self) -> tuple[Shape, ...]:
        """The shape that each node puts out for one sample."""
        return self._shapes[1]

    def entering(self) -> tuple[Shape, ...]:
        """The shape of each node's merged inputs for one sample; of node 0 the image's."""
        return self._shapes[0]

    def levels(self) -> tuple[int, ...]:
        """For each node the longest path to it from the input: columns for a drawing."""
        levels: list[int] = []
        for node in self.nodes:
            levels.append(1 + max((levels[source] for source in node.inputs), default=-1))
        return tuple(levels)

    @cached_property
    def digest(self) -> str:
        """32 hex digits that do not depend on the order and names of the nodes, on stages, or on the space.

        Colour refinement (Weisfeiler and Leman 1968) over the directed graph: a node's colour takes in those of its
        inputs, then those of its users, until no more nodes are told apart. Isomorphic graphs therefore always agree.
        Different ones could agree only if refinement cannot tell them apart: same counts of every colour, as with two
        6-cycles in place of a 12-cycle between otherwise equal nodes. A random graph is next to never so regular.
        """
        users = _users(self.nodes)
        colours = [_hash(node.operation, node.channels, node.stride, node.merge) for node in self.nodes]
        distinct = 0
        while len(set(colours)) > distinct:
            distinct = len(set(colours))
            for number, node in enumerate(self.nodes):
                if node.inputs:
                    sources = [colours[source] for source in node.inputs]
                    colours[number] = _hash(colours[number], *_unless_ordered(node, sources))
            for number in range(len(self.nodes) - 1, -1, -1):
                after = [_seen_from(number, self.nodes[user], colours[user]) for user in users[number]]
                colours[number] = _hash(colours[number], *sorted(after))
        return _hash(self.input_shape, self.classes, *sorted(colours))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, with the schema version."""
        return {
            "schema": SCHEMA,
            "space": self.space,
            "input_shape": list(self.input_shape),
            "classes": self.classes,
            "nodes": [{**asdict(node), "inputs": list(node.inputs)} for node in self.nodes],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Architecture:
        """The architecture that `to_dict` described.

        Raises:
            SpaceError: If the schema is not known here, or a field is missing, unknown or of the wrong kind.
        """
        if data.get("schema") != SCHEMA:
            raise SpaceError(
                f"This version reads architecture schema {SCHEMA}, but got {data.get('schema')!r}. Update autokd."
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
        """`to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Architecture:
        """The architecture that `to_json` described.

        Raises:
            SpaceError: If it is not JSON, or as in `from_dict`.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise SpaceError(f"Not JSON: {error}.") from error
        if not isinstance(data, dict):
            raise SpaceError(f"An architecture is a JSON object, but got {type(data).__name__}.")
        return cls.from_dict(data)


def _check_node(number: int, node: Node) -> None:
    known_operation(node.operation)
    if node.merge not in MERGES:
        raise SpaceError(f"Unknown merge {node.merge!r} of node {number}. Known: {', '.join(MERGES)}.")
    if not node.inputs or min(node.inputs) < 0 or max(node.inputs) >= number:
        raise SpaceError(f"Inputs must be earlier nodes, at least one, but node {number} has {node.inputs}.")
    if len(set(node.inputs)) != len(node.inputs):
        raise SpaceError(f"Inputs must differ, but node {number} has {node.inputs}.")
    if (node.merge == "none") != (len(node.inputs) == 1):
        raise SpaceError(
            f"`merge` is none exactly for one input, but node {number} has {node.merge!r} for {node.inputs}."
        )
    if node.channels < 1 or node.stride < 1 or node.stage < 0:
        raise SpaceError(f"`channels, stride >= 1` and `stage >= 0` must hold, but node {number} is {node}.")


def _check_names(names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        raise SpaceError(
            f"Names must differ, but got {sorted({name for name in names if names.count(name) > 1})} twice."
        )
    for name in names:
        if not name.isidentifier() or iskeyword(name) or name.startswith("_") or name in RESERVED:
            raise SpaceError(
                f"A node's name must be a free Python identifier without leading underscore, but got {name!r}."
            )


def _check_keys(kind: str, data: Mapping[str, Any], expected: set[str]) -> None:
    if set(data) != expected:
        missing, extra = sorted(expected - set(data)), sorted(set(data) - expected)
        raise SpaceError(f"The fields of this {kind} do not fit: missing {missing}, unknown {extra}.")


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
        raise SpaceError(f"Not an architecture: a whole number is needed, but got {value!r}.")
    return value


def _users(nodes: Sequence[Node]) -> list[list[int]]:
    users: list[list[int]] = [[] for _ in nodes]
    for number, node in enumerate(nodes):
        for source in node.inputs:
            users[source].append(number)
    return users


def _unless_ordered(node: Node, sources: list[str]) -> list[str]:
    return sources if node.merge in ORDERED else sorted(sources)


def _seen_from(number: int, user: Node, colour: str) -> str:
    """A user's colour, with the place at which it reads this node where the place counts."""
    return _hash(colour, user.inputs.index(number)) if user.merge in ORDERED else colour


def _hash(*parts: object) -> str:
    return blake2b(repr(parts).encode(), digest_size=16).hexdigest()
