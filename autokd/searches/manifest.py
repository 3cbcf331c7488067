"""What the manifest of an exported student says, gathered from its search."""

from collections.abc import Mapping
from typing import Any

import torch

from autokd.data.channels import of_split
from autokd.database.rows import SearchRow
from autokd.distillation.registry import learns_from_panel
from autokd.export.card import Card
from autokd.export.folder import Export
from autokd.export.replacement import Origin
from autokd.searches.axes import three_axes
from autokd.searches.pace import full_length_of
from autokd.searches.panel_facts import panel_json
from autokd.searches.problem import Problem
from autokd.searches.students import TrainedStudent

__all__ = ["describe_export", "origin"]

PROBE_SAMPLES = 32


def describe_export(
    problem: Problem,
    search: SearchRow,
    student: TrainedStudent,
    evidence: Mapping[str, Any],
    fold: bool,
    card: Card | None = None,
) -> Export:
    """Everything about a student that goes into its folder.

    Its test accuracy is measured only if it was trained at full length.

    Args:
        problem: What is searched.
        search: The search's row.
        student: The student to export.
        evidence: What the manifest says of the whole search: references and cost.
        fold: Whether to fold batch norm into the convolutions before it, see `Export`.
        card: Model card of the repository that the folder is for, if any.
    """
    dataset = problem.context.load_data()
    probe = dataset.validation.take(torch.arange(min(PROBE_SAMPLES, len(dataset.validation))))
    channels = problem.config.data.student_channels
    return Export(
        architecture=student.architecture,
        module=student.network(),
        normalisation=problem.facts.normalisation,
        probe=of_split(probe, channels),
        test=of_split(dataset.test, channels) if student.is_final else None,
        facts={**_facts(problem, search, student, dataset.scale), "classes": list(dataset.class_names), **evidence},
        fold=fold,
        card=card,
    )


def origin(search: SearchRow) -> Origin:
    """What tells the exports of a search from those of others, of the same name too."""
    return search.name, search.created_at.isoformat()


def _facts(problem: Problem, search: SearchRow, student: TrainedStudent, scale: float) -> dict[str, Any]:
    facts, parameters = problem.facts, student.trial.parameters
    mean, deviation = facts.normalisation
    channels, chosen = problem.config.data.student_channels, problem.methods_of(student.trial).chosen(parameters)
    method = str(chosen["method"])
    return {
        "search": search.name,
        "search_began": origin(search)[1],
        "command": search.facts.get("command"),
        "versions": facts.versions,
        "input": {
            "shape": list(facts.input_shape),
            "scale": scale,
            "mean": list(mean),
            "deviation": list(deviation),
            **({} if channels is None else {"channels": list(channels)}),
        },
        "metrics": student.metrics,
        "axes": three_axes(student, search),
        "training": {
            "epochs": student.evaluation.epochs,
            "full_length": student.is_final,
            "length": full_length_of(student),
            "precision": facts.precision,
            "seed": search.seed,
            "trial": student.trial.number if student.trial.reference is None else None,
            "reference": student.trial.reference,
            "replicate": student.row.replicate,
        },
        "family": problem.family(student.trial),
        "distillation": chosen,
        "teacher": {
            "source": problem.config.teacher.source,
            "digest": facts.teacher_digest,
            "params": facts.teacher_params,
            "macs": facts.teacher_macs,
            "metrics": facts.teacher_metrics,
            "test_metrics": search.facts.get("teacher_test_metrics"),
        },
        "panel": panel_json(problem.panel_for(student.trial)) if learns_from_panel(method) else None,
        "data": {"source": problem.config.data.source, "digest": facts.data_digest},
    }
