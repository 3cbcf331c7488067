import ast
import itertools
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture, Node
from search_spaces.architecture.operations import OPERATIONS, Width, layers
from search_spaces.design.budget import Budget
from search_spaces.design.space import Space
from search_spaces.errors import SpaceError
from search_spaces.networks.initialisation import initialise
from search_spaces.networks.network import build
from search_spaces.networks.source import source
from search_spaces.spaces.nago import Nago
from search_spaces.spaces.randwire import RandWire


def draw(space: Space, seed: int, size: int = 28, params: int = 60_000) -> Architecture:
    rng = np.random.default_rng(seed)
    return space.sample(space.random_parameters(rng), Budget(params=params), (1, size, size), 10, rng)


def load(text: str, name: str = "Student") -> nn.Module:
    names: dict[str, type[nn.Module]] = {}
    exec(text, names)
    return names[name]().eval()


def chain(operation: str, shape: tuple[int, ...]) -> Architecture:
    """Network with an operation three times, with odd channels and, if supported, a stride, so that helpers occur."""
    nodes = [Node("input", (), shape[0], name="image")]
    rank = len(shape) - 1
    for stride in (1, 2, 1):
        before = nodes[-1].channels
        for channels, step in itertools.product((before + 1, before, before - 1, before // 3), (stride, 1)):
            with suppress(SpaceError):
                layers(operation, Width(before, channels, step, rank))
                nodes.append(Node(operation, (len(nodes) - 1,), channels, step))
                break
    nodes.append(Node("classifier", (len(nodes) - 1,), 4))
    return Architecture(shape, 4, tuple(nodes))


def merges() -> Architecture:
    """Network with every merge once that does not need `torch` otherwise."""
    nodes = (
        Node("input", (), 2, name="image"),
        Node("conv1x1_bn", (0,), 4, name="a"),
        Node("conv3x3_bn", (0,), 4, name="b"),
        Node("conv3x3_bn", (1, 2), 4, merge="sum", name="c"),
        Node("identity", (1, 2, 3), 12, merge="concat", name="joined"),
        Node("global_gate", (4,), 12, name="gate"),
        Node("relu_conv1x1_bn", (4, 5), 6, merge="product", name="scaled"),
        Node("classifier", (6,), 3, name="classifier"),
    )
    return Architecture((2, 6, 5), 3, nodes)


FLATTENED = (
    Node("input", (), 2, name="image"),
    Node("series", (0,), 2, name="rows"),
    Node("relu_conv3x3_bn", (1,), 5),
    Node("vector", (2,), 150),
    Node("relu_conv3x3_bn", (3,), 7),
    Node("classifier", (4,), 3),
)
OTHERS = sorted(set(OPERATIONS) - {"classifier", "pool_classifier", "series", "vector"})
SHAPES = [(12, 20, 14), (12, 20), (12,)]
ARCHITECTURES = {
    "nago": draw(Nago(), 0),
    "nago with 8 pixels": draw(Nago(), 1, size=8),
    "nago with 64 pixels": draw(Nago(), 2, size=64),
    "randwire with odd pools": draw(RandWire(), 3, size=27),
    "merges": merges(),
    "flattened": Architecture((2, 6, 5), 3, FLATTENED),
    "smallest": Architecture((1, 2, 2), 2, (Node("input", (), 1), Node("classifier", (0,), 2))),
    "other classifier": Architecture((1, 2, 2), 2, (Node("input", (), 1), Node("pool_classifier", (0,), 2))),
} | {
    f"{operation} of {len(shape) - 1} axes": made
    for operation in OTHERS
    for shape in SHAPES
    if len((made := chain(operation, shape)).nodes) > 2
}
each = pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)


@each
def test_it_computes_the_bits_of_the_built_network_with_the_same_weights(architecture: Architecture) -> None:
    network = build(architecture, seed=3).eval()
    student = load(source(architecture))
    student.load_state_dict(network.state_dict())
    assert list(student.state_dict()) == list(network.state_dict())
    images = torch.randn(2, *architecture.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(student(images), network(images))


@each
def test_a_batch_without_samples_has_logits_without_rows(architecture: Architecture) -> None:
    empty = torch.empty(0, *architecture.input_shape)
    for network in (build(architecture).eval(), load(source(architecture))):
        assert network(empty).shape == (0, architecture.classes)


@each
def test_initialising_it_gives_the_weights_of_the_built_network(architecture: Architecture) -> None:
    network, student = build(architecture, seed=5), load(source(architecture))
    initialise(student, architecture, seed=5)
    theirs = network.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in student.state_dict().items())


@each
def test_it_is_formatted_as_by_ruff(architecture: Architecture, tmp_path: Path) -> None:
    file = tmp_path / "student.py"
    file.write_text(source(architecture))
    for command in (["format", "--check"], ["check", "--select=E,F,I,D1,B,UP", "--ignore=D107"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--line-length=120", "--isolated", str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


@each
def test_it_imports_only_torch(architecture: Architecture) -> None:
    imported = set()
    for node in ast.walk(ast.parse(source(architecture))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module))
    assert imported <= {"torch"}


def test_it_states_its_size_and_takes_a_class_name() -> None:
    architecture = ARCHITECTURES["nago"]
    text = source(architecture, "Tiny")
    assert f"{cost(architecture).params:,} parameters, {cost(architecture).macs:,} multiply" in text
    assert isinstance(load(text, "Tiny"), nn.Module)
    for wrong in ("not a name", "class", "torch", "relu_conv3x3_bn"):
        with pytest.raises(SpaceError, match="identifier that is not reserved"):
            source(architecture, wrong)


@pytest.mark.parametrize("name", ["forward", "train", "float"])
def test_a_node_that_no_module_can_have_is_refused(name: str) -> None:
    nodes = (Node("input", (), 2), Node("conv3x3_bn", (0,), 2, name=name), Node("classifier", (1,), 3))
    with pytest.raises(SpaceError, match=r"must not be an attribute of `nn\.Module`"):
        source(Architecture((2, 4, 4), 3, nodes))


def test_repeated_blocks_are_written_once() -> None:
    text = source(ARCHITECTURES["randwire with odd pools"])
    assert text.count("def relu_sepconv3x3_bn(inputs: int, outputs: int, stride: int = 1)") == 1
    assert text.count("groups=inputs") == 1


def test_dead_tensors_are_deleted_if_they_would_raise_the_peak() -> None:
    text = source(ARCHITECTURES["randwire with odd pools"])
    assert "        del " in text
    chain = (
        Node("input", (), 2, name="image"),
        Node("conv3x3_bn", (0,), 2, name="one"),
        Node("conv3x3_bn", (1,), 1, name="two"),
        Node("classifier", (2,), 2),
    )
    forward = source(Architecture((2, 4, 4), 2, chain)).split("def forward")[1]
    assert forward.index("one = ") < forward.index("del image") < forward.index("two = ")
    assert "del one" not in forward  # while the narrow `two` runs, it does not raise the peak
