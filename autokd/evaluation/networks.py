"""The networks that an evaluation trains: the student, and the companions of its method."""

from copy import deepcopy

import torch
from torch import nn

from autokd.core.rng import forked_rng
from autokd.data.channels import SomeChannels
from autokd.data.dataset import Dataset
from autokd.distillation import Method, Recruits
from autokd.evaluation.task import EvaluationTask, weights_file
from autokd.evaluation.warm_start import begin_with_teacher, inherit, warm_start_weights
from autokd.teachers.teacher import Teacher
from search_spaces.architecture.format import Architecture
from search_spaces.networks.network import Network, build

__all__ = ["built_student", "recruit", "warm_start"]

SHAPE_SAMPLES = 2  # enough to see in which order the teacher's modules run


def built_student(task: EvaluationTask, *role: int | str) -> Network:
    """A network of the task's architecture on its device, whose initial weights follow from the seed and its role."""
    network = build(Architecture.from_json(task.architecture), seed=task.seed_of(*role))
    network.to(torch.device(task.context.device), memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def warm_start(network: Network, task: EvaluationTask, dataset: Dataset) -> None:
    """Give a fresh network the weights of the teacher and of the earlier student that the task names, if any.

    Args:
        network: Of `built_student`.
        task: What it is trained for.
        dataset: The samples.

    Raises:
        WarmStartGoneError: If the weights to inherit are gone.
        InputError: If the teacher is gone, or another one.
    """
    if task.from_teacher:
        begin_with_teacher(network, task.context, dataset, task.seed_of("fit") if task.replicate else None)
    if task.warm_from:
        tensors = warm_start_weights(weights_file(task.folder, task.warm_from))
        inherit(network, tensors, task.context.training.warm_start)


def recruit(task: EvaluationTask, method: Method, dataset: Dataset) -> None:
    """Make the companions of the task's method, if it has any.

    Args:
        task: What is trained.
        method: The method.
        dataset: The samples.

    Raises:
        InputError: If a companion is a copy of a teacher that is gone or cannot be copied so.
    """
    if not method.n_companions:
        return
    context = task.context
    stream, channels = context.stream(dataset), context.data.student_channels

    def fresh(number: int) -> nn.Module:
        network = built_student(task, "companion", number)
        return network if channels is None else SomeChannels(network, channels)

    def copied() -> nn.Module:
        teacher = context.load_teacher(context.last_teacher(task.teacher_schedule), dataset)
        return deepcopy(teacher).requires_grad_()

    indices = torch.arange(min(SHAPE_SAMPLES, len(stream.split)), device=stream.split.labels.device)
    layers = context.teacher.layers and Teacher.outer_names(context.teacher.layers)
    with forked_rng(indices.device):
        torch.manual_seed(task.seed_of("companions"))
        method.recruit(Recruits(fresh, copied, stream.batch(indices, 0).images, layers))
