"""References: students that one would try without a search, recorded as trials of their own kind.

The parameters of a reference are plain values that say how it is made, so that it is resumed as it began: `space` and
`ranges` of its architecture, or the `trial` whose student it trains again; then `method` and `settings` of its
distillation.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from autokd.config.schema import DistillationConfig, ReferencesConfig
from autokd.database.rows import TrialRow
from autokd.distillation import KD
from autokd.searches.method_choice import MethodChoice
from autokd.searches.trial_record import TrialRecord, latest_references
from search_spaces.architecture.format import Architecture
from search_spaces.design.dimensions import Value
from search_spaces.design.registry import space
from search_spaces.design.space import Space
from search_spaces.errors import SpaceError
from search_spaces.spaces.blocks import MOBILENETV2, RESNET

__all__ = [
    "LIKE_TEACHER",
    "NO_TEACHER",
    "no_teacher_parameters",
    "reference_methods",
    "reference_parameters",
    "reference_space",
    "reference_title",
    "references_to_retrain",
]

NO_TEACHER, LIKE_TEACHER = "no-teacher", "like-teacher"

NETWORKS: Mapping[str, Mapping[str, Value]] = {
    "resnet": {**RESNET, "head_ratio": 0.0},  # a ResNet has none
    "mobilenetv2": MOBILENETV2,
}
"""Ranges of the space `blocks` that fix it to one network."""


def reference_parameters(name: str, teacher_graph: Architecture | None) -> dict[str, Any]:
    """Parameters of a reference.

    Args:
        name: Its name; `NO_TEACHER` has parameters of another form.
        teacher_graph: The teacher's network; None if it is not known.
    """
    name_of_space = LIKE_TEACHER if name == LIKE_TEACHER else "blocks"
    ranges = _teachers_own(teacher_graph) if name == LIKE_TEACHER else dict(NETWORKS[name])
    defaults = KD()
    settings = {"temperature": defaults.temperature, "weight": defaults.weight}
    return {"space": name_of_space, "ranges": ranges, "method": KD.name, "settings": settings}


def no_teacher_parameters(trial: int) -> dict[str, Any]:
    """Parameters of the reference that trains the student of a trial from the labels alone."""
    return {"trial": trial, "method": KD.name, "settings": {"temperature": 1.0, "weight": 0.0}}


def reference_space(parameters: Mapping[str, Any], teacher_graph: Architecture | None) -> Space:
    """The space of a reference's architecture; all its dimensions are fixed.

    Args:
        parameters: Parameters of the reference.
        teacher_graph: The teacher's network; None if it is not known.
    """
    found = space(parameters["space"], **parameters["ranges"])
    return found if teacher_graph is None else found.with_teacher(teacher_graph)


def reference_methods(parameters: Mapping[str, Any]) -> MethodChoice:
    """The distillation of a reference, by the first teacher; nothing is left to choose."""
    return MethodChoice(DistillationConfig(method=parameters["method"], ranges=dict(parameters["settings"])))


def references_to_retrain(references: Iterable[TrialRecord], config: ReferencesConfig, best: int) -> list[TrialRecord]:
    """The references to train at full length: those that are named, or the best at the last rung.

    They are ranked by validation accuracy, but the student without the teacher comes last: it says what distilling is
    worth, but nothing of networks drawn by hand.

    Args:
        references: References in the order in which they were opened.
        config: Which references are wanted, and which or how many of them at full length.
        best: Number of the winning trial; another one's student without the teacher is left out.
    """
    wanted = [
        record
        for name, record in latest_references(references).items()
        if name in config.names
        and record.trial.state == "complete"
        and record.trial.parameters.get("trial", best) == best
    ]
    ranked = sorted(wanted, key=lambda record: (record.trial.reference == NO_TEACHER, -record.best_value))
    if isinstance(config.final, tuple):
        return [record for record in ranked if record.trial.reference in config.final]
    return ranked if config.final == "all" else ranked[: config.final]


def _teachers_own(teacher_graph: Architecture | None) -> dict[str, Value]:
    """Ranges of the space `like-teacher` that fix it to the proportions of the teacher; none if it cannot be copied."""
    if teacher_graph is None:
        return {}
    try:
        return dict.fromkeys(space(LIKE_TEACHER).with_teacher(teacher_graph).distributions(), 1.0)
    except SpaceError:  # as its draw will say
        return {}


def reference_title(reference: TrialRow, trial: int) -> str:
    """Name of a reference that stands beside a student, with the trial whose student it trains if that is another one.

    Args:
        reference: The reference.
        trial: Number of the student's trial.
    """
    other = reference.parameters.get("trial", trial)
    return f"{reference.reference} of trial {other}" if other != trial else str(reference.reference)
