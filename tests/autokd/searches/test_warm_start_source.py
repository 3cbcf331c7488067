from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from autokd.recipes.teachers import ResidualTeacher
from autokd.searches.trial_record import TrialRecord
from autokd.searches.warm_start_source import _nodes, warm_start_source
from search_spaces.architecture.format import Architecture, Node
from search_spaces.design.budget import Budget
from search_spaces.design.registry import known_spaces, space
from search_spaces.networks.network import Network, build
from search_spaces.networks.traced import trace


def chain(*channels: int) -> Architecture:
    """Convolutions of these widths, one after another, and a classifier on top."""
    nodes = [Node("input", (), 1, name="image")]
    nodes += [Node("conv3x3_bn", (k,), width, name=f"conv{k}") for k, width in enumerate(channels)]
    return Architecture((1, 8, 8), 10, (*nodes, Node("classifier", (len(channels),), 10, name="classifier")))


def branched(inputs: tuple[int, ...], merge: str) -> Architecture:
    """Three convolutions side by side, of which some enter one more."""
    sides = [Node("conv3x3_bn", (0,), 4, name=f"side{k}") for k in range(3)]
    joined = Node("conv3x3_bn", inputs, 4, merge=merge, name="joined")
    end = Node("classifier", (1, 2, 3, 4), 10, merge="concat", name="classifier")
    return Architecture((1, 8, 8), 10, (Node("input", (), 1), *sides, joined, end))


@pytest.fixture
def make_trained(make_record):
    """Makes a finished trial whose student has this graph and reached as many rungs."""

    def make(number: int, architecture: Architecture, rungs: int = 1, state: str = "complete", **parameters: Any):
        record: TrialRecord = make_record(number, [[0.5]] * rungs, state, parameters)
        student = replace(record.students[0], architecture=architecture.to_dict())
        rows = tuple(replace(row, key=f"trial{number}-{row.rung}") for row in record.evaluations)
        return replace(record, students=(student,), evaluations=rows)

    return make


def choose(trial_records: list[TrialRecord], architecture: Architecture) -> str | None:
    return warm_start_source(trial_records, architecture, lambda trial: trial.parameters.get("family") == "own")


def test_the_first_student_of_a_search_has_no_source_of_weights():
    assert choose([], chain(4)) is None


def test_the_student_that_shares_most_nodes_is_inherited_from_at_its_last_rung(make_trained):
    trial_records = [make_trained(0, chain(4, 4)), make_trained(1, chain(8, 8), rungs=2), make_trained(2, chain(6, 6))]
    assert choose(trial_records, chain(8, 8, 8)) == "trial1-1"


def test_shapes_and_names_both_must_match(make_trained):
    """Of the same width the first convolutions match, tensor by tensor; of other widths nothing does."""
    trial_records = [make_trained(0, chain(4)), make_trained(1, chain(6))]
    assert choose(trial_records, chain(6, 3)) == "trial1-0"
    assert choose(trial_records, chain(5)) is None


@pytest.mark.parametrize("merge", ["sum", "concat"])
def test_a_node_that_is_shared_has_the_same_tensors(make_trained, merge: str):
    """Two networks that differ in the inputs of a node, built: what counts as shared is what torch shares."""
    few, many = (branched(inputs, merge) for inputs in ((1, 2), (1, 2, 3)))
    shapes = [{name: tuple(t.shape) for name, t in build(one).state_dict().items()} for one in (few, many)]
    joined = {name for name in shapes[0] if name.startswith("joined") and shapes[0][name] == shapes[1].get(name)}
    is_shared = len(joined) == sum(name.startswith("joined") for name in shapes[0])
    shared = _nodes(few.to_dict()) & _nodes(many.to_dict())
    assert is_shared == any(name == "joined" for name, *_ in shared) == (merge == "sum")


@pytest.mark.parametrize("name", known_spaces())
def test_of_every_space_the_nodes_with_weights_are_those_whose_modules_have_parameters(name: str):
    searched, rng = space(name), np.random.default_rng(0)
    if searched.needs_teacher:
        searched = searched.with_teacher(trace(ResidualTeacher(3, 10, (8, 16)), torch.randn(2, 3, 16, 16)).architecture)
    drawn = searched.sample(searched.random_parameters(rng), Budget(params=300_000), (3, 16, 16), 10, rng)
    network = Network(drawn, device="meta")
    weighted = {child for child, module in network.named_children() if any(True for _ in module.parameters())}
    assert {node for node, *_ in _nodes(drawn.to_dict())} == weighted


def test_the_same_family_comes_before_a_better_match(make_trained):
    trial_records = [make_trained(0, chain(8, 8)), make_trained(1, chain(8, 4), family="own")]
    assert choose(trial_records, chain(8, 8)) == "trial1-0"


def test_among_equals_the_longest_trained_then_the_first_comes(make_trained):
    trial_records = [make_trained(number, chain(4), rungs) for number, rungs in enumerate((1, 2, 2))]
    assert choose(trial_records, chain(4)) == "trial1-1"


@pytest.mark.parametrize("state", ["running", "failed"])
def test_trials_that_run_or_failed_are_no_source_of_weights(make_trained, state: str):
    assert choose([make_trained(0, chain(4), state=state)], chain(4)) is None
    assert choose([make_trained(0, chain(4), state="pruned")], chain(4)) == "trial0-0"


def test_a_student_of_the_family_that_shares_nothing_is_passed_over(make_trained):
    nothing = Architecture((1, 8, 8), 7, (Node("input", (), 1), Node("classifier", (0,), 7)))
    trial_records = [make_trained(0, nothing, family="own"), make_trained(1, chain(4))]
    assert choose(trial_records, chain(4)) == "trial1-0"
    assert choose(trial_records[:1], chain(4)) is None
