import json
from dataclasses import replace
from typing import Any

import pytest

from search_spaces.architecture.format import Architecture, Node
from search_spaces.errors import SpaceError

NODES = (
    Node("input", (), 1, name="image"),
    Node("conv3x3_bn", (0,), 4, stride=2, name="stem"),
    Node("relu_conv3x3_bn", (1,), 4),
    Node("relu_conv3x3_bn", (1, 2), 4, merge="weighted_sum"),
    Node("identity", (2, 3), 4, merge="mean"),
    Node("classifier", (4,), 3),
)
ARCHITECTURE = Architecture((1, 9, 8), 3, NODES)


def test_shapes_follow_the_operations() -> None:
    assert ARCHITECTURE.shapes() == ((1, 9, 8), *4 * ((4, 5, 4),), (3,))


def test_levels_are_longest_paths() -> None:
    assert ARCHITECTURE.levels() == (0, 1, 2, 3, 4, 5)


def test_nodes_without_a_name_are_named_by_their_index() -> None:
    assert ARCHITECTURE.names == ("image", "stem", "node2", "node3", "node4", "node5")


@pytest.mark.parametrize(
    ("number", "change", "message"),
    [
        (0, {"operation": "conv3x3_bn"}, "Node 0 must be an `input` node"),
        (2, {"operation": "conv9by9"}, "Unknown operation 'conv9by9'"),
        (2, {"inputs": (2,)}, "earlier nodes"),
        (2, {"inputs": ()}, "earlier nodes"),
        (2, {"inputs": (-1,)}, "earlier nodes"),
        (3, {"inputs": (2, 2)}, "must differ"),
        (3, {"merge": "times"}, "Unknown merge 'times'"),
        (3, {"merge": "none"}, "for a single input only"),
        (2, {"merge": "sum"}, "for a single input only"),
        (2, {"channels": 0}, "channels, stride >= 1"),
        (2, {"channels": 5}, "'weighted_sum' does not accept the shapes"),
        (2, {"stride": 2}, "'weighted_sum' does not accept the shapes"),
        (4, {"inputs": (3,), "merge": "none", "name": "stem"}, "names must differ"),
        (4, {"name": "for"}, "identifier that is not reserved"),
        (4, {"name": "self"}, "identifier that is not reserved"),
        (4, {"name": "\N{MICRO SIGN}"}, r"as Python reads it: '\\u03bc' in place of '\\xb5'"),
        (4, {"name": "\N{LATIN SMALL LIGATURE FI}"}, "as Python reads it: 'fi'"),
        (5, {"channels": 4}, r"\(3,\) logits"),
        (5, {"inputs": (2,)}, r"no node reads \[4\]"),
    ],
)
def test_a_broken_rule_is_an_error_that_names_it(number: int, change: dict[str, Any], message: str) -> None:
    nodes = [*NODES]
    nodes[number] = replace(nodes[number], **change)
    with pytest.raises(SpaceError, match=message):
        Architecture((1, 9, 8), 3, tuple(nodes))


def test_json_and_dict_round_trip() -> None:
    assert Architecture.from_json(ARCHITECTURE.to_json()) == ARCHITECTURE
    assert Architecture.from_dict(ARCHITECTURE.to_dict()) == ARCHITECTURE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "schema must be 1, but got 2"),
        ({"colour": "red"}, r"unknown \['colour'\]"),
        ({"input_shape": [1, 2, 3, 4]}, "`input_shape` must be"),
        ({"nodes": [7]}, "Not an architecture"),
        ({"classes": "3"}, "expected a whole number, but got '3'"),
        ({"input_shape": [1, 9.5, 8]}, r"expected a whole number, but got 9\.5"),
        ({"input_shape": [1, 2**31 + 1, 8]}, r"must be at most 2\*\*31, but got 2147483649"),
        ({"nodes": [{"operation": "input"}]}, "missing .*channels"),
    ],
)
def test_a_dict_of_another_form_is_rejected(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        Architecture.from_dict({**ARCHITECTURE.to_dict(), **change})


@pytest.mark.parametrize("text", ["", "{", "[]", "null", pytest.param("[" * 100_000, id="deep")])
def test_text_that_is_not_an_architecture_is_rejected(text: str) -> None:
    with pytest.raises(SpaceError, match=r"JSON|schema"):
        Architecture.from_json(text)


def test_a_stored_architecture_still_opens() -> None:
    nodes = [
        {"operation": "input", "inputs": [], "channels": 1, "stride": 1, "merge": "none", "stage": 0, "name": ""},
        {
            "operation": "classifier",
            "inputs": [0],
            "channels": 2,
            "stride": 1,
            "merge": "none",
            "stage": 0,
            "name": "c",
        },
    ]
    stored = {"schema": 1, "space": "nago", "input_shape": [1, 2, 2], "classes": 2, "nodes": nodes}
    assert json.loads(Architecture.from_dict(stored).to_json()) == stored


def test_the_digest_ignores_names_stages_and_the_space() -> None:
    nodes = tuple(replace(node, name="", stage=1 if number else 0) for number, node in enumerate(NODES))
    assert Architecture((1, 9, 8), 3, nodes, "nago").digest == ARCHITECTURE.digest


@pytest.mark.parametrize(
    "change",
    [{"operation": "relu_sepconv3x3_bn"}, {"merge": "sum"}, {"inputs": (0, 1)}],
)
def test_the_digest_depends_on_operation_merge_and_inputs(change: dict[str, Any]) -> None:
    two = (
        NODES[0],
        Node("conv3x3_bn", (0,), 1),
        Node("conv3x3_bn", (1,), 1),
        Node("relu_conv3x3_bn", (0, 2), 1, merge="mean"),
        Node("identity", (1, 2, 3), 1, merge="mean"),
        Node("classifier", (4,), 3),
    )
    changed = (*two[:3], replace(two[3], **change), *two[4:])
    assert Architecture((1, 9, 8), 3, two).digest != Architecture((1, 9, 8), 3, changed).digest


def test_the_digest_is_the_same_in_every_process() -> None:
    pair = (Node("input", (), 1), Node("classifier", (0,), 2))
    assert Architecture((1, 2, 2), 2, pair).digest == "fd6b4408be45a8682aef8f3361bdbbd7"


def test_the_digest_does_not_distinguish_a_12_cycle_from_two_6_cycles() -> None:
    """The known limit that the docstring of `digest` states."""

    def cycles(length: int) -> Architecture:
        upper = [Node("relu_conv3x3_bn", (0,), 1) for _ in range(6)]
        half = length // 2
        lower = []
        for i in range(6):
            start = i - i % half
            pair = sorted({1 + i, 1 + start + (i + 1) % half})
            lower.append(Node("relu_conv3x3_bn", tuple(pair), 1, merge="sum"))
        last = [Node("identity", tuple(range(7, 13)), 1, merge="mean"), Node("classifier", (13,), 2)]
        return Architecture((1, 4, 4), 2, (Node("input", (), 1), *upper, *lower, *last))

    assert cycles(12) != cycles(6)
    assert cycles(12).digest == cycles(6).digest


def joined(first: str, second: str, merge: str) -> Architecture:
    """Network that merges two convolutions in this order, then takes the first channels."""
    nodes = [
        Node("input", (), 3, name="image"),
        Node("conv1x1_bn", (0,), 4, name="one"),
        Node("conv3x3_bn", (0,), 4, name="three"),
    ]
    names = [node.name for node in nodes]
    channels = 8 if merge == "concat" else 4
    nodes.append(Node("identity", (names.index(first), names.index(second)), channels, merge=merge, name="both"))
    nodes.append(Node("first_channels", (3,), 4, name="cut"))
    nodes.append(Node("classifier", (4,), 2, name="classifier"))
    return Architecture((3, 8, 8), 2, tuple(nodes))


def test_the_digest_depends_on_the_order_of_a_concatenation_but_not_of_a_sum() -> None:
    assert joined("one", "three", "concat").digest != joined("three", "one", "concat").digest
    assert joined("one", "three", "sum").digest == joined("three", "one", "sum").digest


def test_json_of_signals_and_vectors_round_trips() -> None:
    for shape in [(3, 20), (7,)]:
        nodes = (Node("input", (), shape[0]), Node("relu_conv3x3_bn", (0,), 5), Node("classifier", (1,), 2))
        architecture = Architecture(shape, 2, nodes)
        assert Architecture.from_json(architecture.to_json()) == architecture
