"""How fast students and teacher are on this machine, measured before a search with students as it may draw them."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from autokd.core.device import pick_precision
from autokd.core.seeds import derive
from autokd.core.speed import measure_training, median_speed, possible_precisions, worker_threads
from autokd.data.channels import of_samples
from autokd.searches.facts import Facts
from autokd.searches.pace import fitting_rungs
from autokd.searches.problem import Problem
from autokd.searches.proposals import propose
from autokd.teachers.features import TeacherWithFeatures
from autokd.teachers.registry import Teacher
from search_spaces.errors import BudgetError
from search_spaces.networks.network import build

__all__ = ["measure_speed", "typical_students"]

PROBED = 8  # samples for the teacher


def measure_speed(problem: Problem, students: Sequence[nn.Module], teacher: Teacher | None = None) -> Facts:
    """The facts with the speed of student and teacher in one worker, and with what follows: precision and rungs.

    Of several students, the slowest decides. The teacher is measured only where rungs may be shortened.

    Args:
        problem: The search.
        students: Typical students, see `typical_students`.
        teacher: The teacher, where it is given as an object.
    """
    facts, context, device = problem.facts, problem.context, torch.device(problem.facts.device)
    dataset, wanted = context.load_data(), problem.config.training.precision
    stream = context.stream(dataset)
    batch = stream.batch(torch.arange(stream.batch_size, device=device), 0)
    with worker_threads(problem.config.workers.threads, device):
        images = of_samples(batch.images, context.data.student_channels)
        speeds = [measure_training(each, images, possible_precisions(wanted, device)) for each in students]
        if speeds:
            slowest = min(speeds, key=lambda speed: speed.images_per_second)
            facts = replace(facts, precision=slowest.precision, images_per_second=slowest.images_per_second)
        else:
            facts = replace(facts, precision=pick_precision(wanted, device))
        if problem.config.min_trials is not None:
            teacher = teacher or context.load_teacher(0, dataset)
            few = stream.batch(batch.indices[:PROBED], 0)
            with closing(TeacherWithFeatures(teacher, context.needs, facts.precision, context.teacher.layers)) as live:
                speed = median_speed(lambda: live(few), len(few.labels), device)
            facts = replace(facts, teacher_images_per_second=speed)
    return replace(facts, rungs=fitting_rungs(replace(problem, facts=facts)))


def typical_students(problem: Problem) -> list[nn.Module]:
    """A student of the family that the search would try first of each space; none of a family that fits no budget."""
    device = torch.device(problem.facts.device)
    students = (_student(problem, number, device) for number in range(len(problem.space.members)))
    return [student for student in students if student is not None]


def _student(problem: Problem, number: int, device: torch.device) -> nn.Module | None:
    """A student of the family that the search would try first of space `number`; None if it does not fit the budget."""
    facts, space = problem.facts, problem.space
    proposed = propose(problem, [], number)  # the first trials try each space once
    parameters = {name: value for name, value in proposed.items() if name in space.distributions()}
    rng = np.random.default_rng(derive(problem.config.seed, "probe"))
    try:
        architecture = space.sample(parameters, problem.budget, facts.input_shape, facts.classes, rng)
    except BudgetError:
        return None
    network = build(architecture, device=device)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
