"""What is tried of distillation methods before a search is recorded: their needs, and the loss of a few samples."""

from collections.abc import Sequence
from contextlib import closing
from copy import deepcopy

import torch
from torch import Tensor, nn

from autokd.config.panel import PanelConfig
from autokd.core.rng import forked_rng
from autokd.data.channels import SomeChannels
from autokd.data.stream import Batch
from autokd.distillation import Distiller, Method, make_method
from autokd.errors import InputError, first_line
from autokd.searches.assistants import drawn_in
from autokd.searches.own_code import own_code
from autokd.searches.problem import Problem
from autokd.teachers.registry import Teacher
from search_spaces.networks.network import build

__all__ = ["check_methods"]

PROBED = 8  # samples


def check_methods(problem: Problem, students: Sequence[nn.Module], teacher: Teacher | None = None) -> None:
    """Try each distillation method at the ends of its ranges on a few samples, with a student of each space.

    That of assistants is tried with those that are to learn from the teacher.

    Args:
        problem: The search.
        students: Typical students, see `autokd.searches.speed.typical_students`.
        teacher: The teacher, where it is given as an object.

    Raises:
        InputError: If the teacher does not give what a method needs, a method cannot work with the shapes of student
            and teacher, or its loss is not finite.
    """
    context, device, is_object = problem.context, torch.device(problem.facts.device), teacher is not None
    dataset = context.load_data()
    teacher = teacher or context.load_teacher(0, dataset)
    students = [SomeChannels(each, context.data.student_channels) for each in students]
    batch = context.stream(dataset).batch(torch.arange(min(PROBED, len(dataset.train)), device=device), 0)

    def check(name: str, method: Method, students: Sequence[nn.Module]) -> None:
        _check_needs(name, method, teacher, is_object)
        for student in students if teacher.network is not None else ():
            _check_runs(name, method, student, teacher, batch, dataset.train.labels, context.teacher.layers)

    for name, method in problem.methods.examples():
        check(name, method, students)
    panel = problem.config.panel
    if panel is not None and problem.lacks_assistants and (pupils := _pupils(problem, panel)):
        learning = [SomeChannels(each.to(device), context.data.student_channels) for each in pupils]
        try:
            check(panel.method, make_method(panel.method, panel.settings), learning)
        except InputError as error:
            raise InputError(f"panel.distillation: {error}") from None


def _pupils(problem: Problem, panel: PanelConfig) -> list[nn.Module]:
    """Fresh networks of the assistants that are to learn from the teacher itself."""
    chosen = panel.assistants[:1] if panel.path == "chain" else panel.assistants
    return [build(drawn_in(problem, each)) for each in chosen if each.is_trained]


def _check_needs(name: str, method: Method, teacher: Teacher, is_object: bool) -> None:
    """Raise if the method needs more of the teacher than there is.

    Args:
        name: Name of the method.
        method: The method.
        teacher: The teacher.
        is_object: Whether the teacher is given as an object, which workers do not have.
    """
    if method.copies_teacher and (is_object or teacher.network is None):
        raise InputError(
            f"distillation method {name!r} trains a copy of the teacher in the workers, so it wants a torch module "
            "given by name, `module:function`."
        )
    wanted = [*sorted(method.needs), *(["answers for further views"] if method.n_views > 1 else [])]
    if wanted and teacher.network is None:
        raise InputError(
            f"distillation method {name!r} needs the teacher's {' and '.join(wanted)}, but the teacher is no torch "
            "module: choose methods that learn from logits."
        )


def _check_runs(
    name: str,
    method: Method,
    student: nn.Module,
    teacher: Teacher,
    batch: Batch,
    labels: Tensor,
    layers: Sequence[str] | None,
) -> None:
    """Raise if the loss of a batch cannot be computed."""

    def copied(number: int) -> nn.Module:
        return deepcopy(student)

    try:
        with forked_rng(labels.device), own_code(name, InputError):
            distiller = Distiller(
                method,
                student,
                teacher,
                batch.images,
                labels,
                teacher_layers=layers and teacher.outer_names(layers),
                fresh=copied,
                panel=[teacher],  # an assistant's logits have the same shape
            )
            with closing(distiller):
                loss = distiller(batch.images, batch.labels, batch.indices)
    except (InputError, RuntimeError, ValueError) as error:
        why = teacher.inner_text(first_line(error))
        raise InputError(f"distillation method {name!r} cannot be used here: {why}") from None
    if loss.ndim:
        raise InputError(
            f"distillation method {name!r}: its loss must be a tensor of no dimensions, but has the shape "
            f"{tuple(loss.shape)}."
        )
    if not loss.isfinite():
        raise InputError(f"distillation method {name!r}: its loss is {float(loss)} before training: narrow its ranges.")
