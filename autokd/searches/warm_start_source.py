"""The earlier student whose weights a new one inherits, chosen from the rows of its search alone."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from autokd.database.rows import EvaluationRow, StudentRow, TrialRow
from autokd.searches.trial_record import TrialRecord
from search_spaces.architecture.format import Architecture
from search_spaces.architecture.layers import Flatten
from search_spaces.architecture.operations import Width, layers

__all__ = ["warm_start_source"]

Nodes = set[tuple[str, str, int, int, int]]
"""Name, operation, input and output channels, and stride: they decide the names and shapes of a node's tensors."""


def warm_start_source(
    trial_records: Iterable[TrialRecord], architecture: Architecture, is_same_family: Callable[[TrialRow], bool]
) -> str | None:
    """Key of the evaluation whose weights a new student inherits; None if no earlier student shares a node with it.

    Students of the same family are preferred, then those that share the most nodes with all their tensors, then those
    that trained longest, then those drawn first. Students of running and failed trials are ignored, so that nothing
    depends on what is under way.

    Args:
        trial_records: The search's trials.
        architecture: The new student.
        is_same_family: Whether a trial's family is the new student's.
    """
    own = _nodes(architecture.to_dict())
    found = []
    for record in trial_records:
        if record.trial.state in ("complete", "pruned"):
            family = is_same_family(record.trial)
            for student, evaluation in _trained(record):
                shared = len(own & _nodes(student.architecture))
                found.append((shared > 0, family, shared, evaluation.epochs, -student.id, evaluation.key))
    is_some, *_, key = max(found, default=(False, ""))
    return str(key) if is_some else None


def _trained(record: TrialRecord) -> Iterator[tuple[StudentRow, EvaluationRow]]:
    """The trained students of a trial, each with its longest evaluation."""
    complete = [row for row in record.evaluations if row.state == "complete"]
    longest = {row.student_id: row for row in sorted(complete, key=lambda row: row.rung)}
    return ((student, longest[student.id]) for student in record.students if student.id in longest)


def _nodes(architecture: Mapping[str, Any]) -> Nodes:
    """The nodes with weights of a recorded architecture.

    They are read from the plain values, since creating an `Architecture` validates it, which takes seconds for all
    students of a long search.
    """
    nodes = architecture["nodes"]
    ranks = [len(architecture["input_shape"]) - 1]
    found: Nodes = set()
    for number, node in enumerate(nodes[1:], 1):
        merged = sum if node["merge"] == "concat" else max
        entering = merged(nodes[source]["channels"] for source in node["inputs"])
        made = node["operation"], entering, node["channels"], node["stride"]
        has_weights, rank = _effect(*made, ranks[node["inputs"][0]])
        ranks.append(rank)
        if has_weights:
            found.add((node["name"] or f"node{number}", *made))
    return found


@lru_cache(maxsize=4096)
def _effect(operation: str, entering: int, leaving: int, stride: int, rank: int) -> tuple[bool, int]:
    """Whether an operation on inputs of this rank has weights, and the rank of its output."""
    made = layers(operation, Width(entering, leaving, stride, rank))
    flattened = [layer.start - 1 for layer in made if isinstance(layer, Flatten)]
    return any(layer.parameters for layer in made), min([rank, *flattened])
