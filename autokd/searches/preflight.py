"""What is checked and found out before a search begins: data, teacher, device, and whether the budget can be met."""

import platform
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autokd.config.schema import SearchConfig
from autokd.core.device import pick_device
from autokd.core.seeds import derive
from autokd.data.augmentation import Augmentation, check_augmentation, check_extent
from autokd.data.channels import check_channels, moments_of, shape_of
from autokd.data.dataset import Dataset
from autokd.data.registry import check_resized, check_source, load_data
from autokd.data.stream import steps_per_epoch
from autokd.distillation import Method
from autokd.distillation.layers import modules_named
from autokd.distillation.pruning import is_prunable
from autokd.errors import BudgetInfeasibleError, InputError
from autokd.evaluation.distillation_stream import is_live
from autokd.evaluation.precompute import check_room, check_teachers, find_shapes, missing_outputs
from autokd.optimizers.errors import OptimizerError
from autokd.searches.choices import Choices
from autokd.searches.facts import Facts
from autokd.searches.own_code import dimension_texts, own_sources, own_space
from autokd.searches.panel_check import check_panel_config, find_panel
from autokd.searches.problem import Problem
from autokd.searches.proposals import check_optimizer
from autokd.searches.remarks import few_samples, no_mistakes
from autokd.searches.reporter import SILENT, Reporter
from autokd.searches.session import check_files, make_executor
from autokd.searches.tables import counted
from autokd.teachers.cost import TeacherCost, measure_cost
from autokd.teachers.graph import traced_teacher
from autokd.teachers.outputs.shapes import OutputKind, OutputShapes
from autokd.teachers.process_cache import cached_teacher
from autokd.teachers.registry import Teacher, check_made_from, load_teacher
from autokd.teachers.validation import check_same, check_teacher
from autokd.tracking.following import check_trackers
from autokd.training.timetable import step_at
from search_spaces.architecture.format import Architecture
from search_spaces.architecture.layers import KINDS, Shape
from search_spaces.design.budget import LARGEST_LIMIT
from search_spaces.design.envelope import Offer, envelope
from search_spaces.design.open_graph import OpenGraph
from search_spaces.errors import SpaceError

__all__ = [
    "broken_limits",
    "check_budget",
    "check_choices",
    "check_config",
    "check_storage",
    "check_workers",
    "checks",
    "find_facts",
    "survey",
    "with_feasible_spaces",
    "with_own_dimensions",
]

DECISIVE_PACKAGES = ("autokd", "torch", "numpy", "optuna", "scipy")


@contextmanager
def checks() -> Iterator[None]:
    """A block in which what a space or an optimiser refuses is an error of the caller."""
    try:
        yield
    except (SpaceError, OptimizerError) as error:
        raise InputError(str(error)) from error


def check_config(config: SearchConfig) -> None:
    """Check everything that can be told before data are decoded and the teacher runs.

    Raises:
        InputError: If the device, the space, the methods, the optimiser or their settings do not exist or fit, a file
            or function that is named is not there, or a tracker does not answer.
        SpaceError: If a limit is a share of what cannot be told of the teacher.
    """
    pick_device(config.workers.device)
    _check_mixup(config)
    if config.teacher.pruning is None and Choices(config).space.needs_pruning:
        raise InputError('space.ranges.widths = "pruned" is for searches with pruned teachers: set teacher.pruning.')
    choices = Choices(config)
    check_choices(choices)
    check_panel_config(choices)
    check_source(config.data)
    check_made_from(config.teacher)
    check_trackers(config.tracking)
    if config.teacher.onnx or config.teacher.outputs:  # of which at most the number of parameters can be told
        config.budget.resolved(TeacherCost(params=LARGEST_LIMIT if config.teacher.onnx else None).limits)


def check_workers(config: SearchConfig, folder: Path, reporter: Reporter = SILENT) -> None:
    """Check that there are such workers, and that the files of a search reach them.

    Args:
        config: The search.
        folder: Folder of all searches.
        reporter: Hears why there is no worker yet.

    Raises:
        InputError: If there are none, or they do not.
    """
    with make_executor(config) as pool:  # it starts no process before its first task
        check_files(pool, config, folder, reporter)


def check_choices(choices: Choices) -> None:
    """Find mistakes that the first trial would find.

    Raises:
        InputError: If the space, the method, the optimiser or their settings do not exist or fit.
    """
    _ = choices.dimensions
    choices.methods.check()
    check_optimizer(choices)


def find_facts(config: SearchConfig, teacher: Teacher | None = None, reporter: Reporter = SILENT) -> Facts:
    """Load data and teacher, and check that the teacher is worth learning from.

    Args:
        config: The search.
        teacher: The teacher, where it is given as an object.
        reporter: Hears when the teacher is asked, and lines that the user should read.

    Raises:
        InputError: If data or teacher are missing, do not fit together, samples are to be augmented that are no images,
            or the teacher is too weak or another one each time it is made.
        SpaceError: If a limit is a share of what cannot be told of the teacher.
    """
    device = pick_device(config.workers.device)
    dataset = load_data(config.data)
    check_resized(config.data, dataset)
    augmentation = Augmentation.of(config.training.augmentation)
    check_augmentation(augmentation, dataset.input_shape)
    check_extent(augmentation, dataset.input_shape)
    check_channels(config.data.student_channels, dataset, "data.student_channels")
    _check_batch(config, dataset)
    _check_rungs(config, dataset)
    reporter.checking()
    is_given = teacher is not None
    teacher = (teacher or load_teacher(config.teacher, device, dataset, reporter.notify)).to(device)
    _check_prunable(config, teacher)
    _check_layers(config, teacher)
    metrics = check_teacher(teacher, dataset, config.teacher.floor, device)
    for line in (few_samples(len(dataset.validation)), no_mistakes(metrics["accuracy"], len(dataset.validation))):
        if line is not None:
            reporter.notify(line)
    if not is_given:
        check_same(config.teacher, teacher, cached_teacher(config.teacher.numbered(0), str(device), dataset))
    further = [load_teacher(config.teacher.numbered(k), device, dataset) for k in range(1, len(config.teacher.files))]
    cost = measure_cost(teacher, dataset.input_shape, device)
    student_shape = shape_of(dataset.input_shape, config.data.student_channels)
    graph, why_no_graph = _graph(teacher, dataset, student_shape, device)
    traced = None if graph is None else Architecture.from_dict(graph)
    panel = find_panel(config, teacher, dataset, device, traced, why_no_graph, reporter)
    spaces = _spaces_without_copies(config, why_no_graph, reporter) if graph is None else ()
    return Facts(
        input_shape=student_shape,
        classes=dataset.classes,
        data_digest=dataset.digest,
        normalisation=moments_of(dataset.normalisation, config.data.student_channels),
        teacher_digest=teacher.digest,
        teacher_params=cost.params,
        teacher_nonzero_params=cost.nonzero_params,
        teacher_macs=cost.macs,
        teacher_activation_bytes=cost.activation_bytes,
        teacher_model_bytes=cost.model_bytes,
        budget=config.budget.resolved(cost.limits).limits,
        samples={name: len(split) for name, split in dataset.splits.items()},
        teacher_metrics=metrics,
        device=str(device),
        precision="float32" if config.training.precision == "auto" else config.training.precision,
        versions={"python": platform.python_version()} | {name: version(name) for name in DECISIVE_PACKAGES},
        further_teachers=tuple(other.digest for other in further),
        graph=graph,
        why_no_graph=why_no_graph,
        spaces=spaces,
        panel=panel,
        noise_is_known=True,
        sources=own_sources(config),
    )


def check_storage(problem: Problem, teacher: Teacher | None = None) -> OutputShapes:
    """See that the teachers' outputs have room and stored ones are theirs; return their shapes. Nothing is written.

    Args:
        problem: The search.
        teacher: The teacher, where it is given as an object, which workers cannot ask.

    Raises:
        InputError: If the disk has no room, what is stored is of other code of a teacher, the teacher lacks layers that
            are to be stored, or a method needs what is not stored of a teacher that is an object.
    """
    context = problem.context
    shapes = find_shapes(context, teacher)
    check_room(context, missing_outputs(context, shapes), shapes)
    check_teachers(context, teacher)
    if teacher is not None:
        for name, method in problem.methods.examples():
            _check_stored(name, method, context.disk_budget(shapes).stored)
    return shapes


def survey(problem: Problem) -> Sequence[Offer]:
    """What the space offers under each limit of the budget, or each of several spaces.

    Raises:
        SpaceError: If a user's space fails.
    """
    seed, facts = derive(problem.config.seed, "envelope"), problem.facts
    offers: list[Offer] = []
    for name, member in problem.space.members.items():
        rng = np.random.default_rng(seed)
        with own_space(name or problem.config.space.name):
            found = envelope(member, problem.budget, facts.input_shape, facts.classes, rng)
        offers += [replace(offer, space=name) for offer in found]
    return offers


def broken_limits(offers: Sequence[Offer]) -> dict[str, str]:
    """The limits that each space cannot keep, in words; an empty text for a space that keeps all."""
    spaces = dict.fromkeys(offer.space for offer in offers)
    return {space: _broken_limits([offer for offer in offers if offer.space == space]) for space in spaces}


def with_feasible_spaces(problem: Problem, broken: Mapping[str, str]) -> Problem:
    """The problem without those of several spaces that have no student within the budget, unless none has.

    `broken` is what `broken_limits` returns.
    """
    feasible = tuple(name for name, limits in broken.items() if name and not limits)
    return replace(problem, facts=replace(problem.facts, spaces=feasible or problem.facts.spaces))


def with_own_dimensions(problem: Problem) -> Problem:
    """The problem that knows by which dimensions it begins, where code of the user's own decides them.

    Those of the widths of pruned teachers are known only later.
    """
    if not problem.facts.sources or problem.config.teacher.pruning is not None:
        return problem
    return replace(problem, facts=replace(problem.facts, dimensions=dimension_texts(problem.dimensions)))


def check_budget(broken: Mapping[str, str], reporter: Reporter = SILENT) -> None:
    """Check that some student meets the budget.

    Args:
        broken: The limits that the spaces cannot keep, see `broken_limits`.
        reporter: Hears of each space that is left out as long as another one has such students.

    Raises:
        BudgetInfeasibleError: If none does, with the limits that cannot be met.
    """
    if all(broken.values()):
        texts = (f"{name}: {limits}" if name else limits for name, limits in broken.items())
        raise BudgetInfeasibleError(
            f"the budget cannot be met: {'; '.join(texts)}. Raise the limit, or narrow the space to smaller graphs."
        )
    for name, limits in broken.items():
        if limits:
            reporter.notify(f"space {name!r} is left out, since it cannot meet the budget: {limits}")


def _broken_limits(offers: Sequence[Offer]) -> str:
    broken = [
        f"{offer.limit} <= {offer.allowed:,}, but the smallest student has {offer.smallest:,}"
        for offer in offers
        if not offer.satisfiable
    ]
    limits = [f"{offer.limit} <= {offer.allowed:,}" for offer in offers if offer.allowed and offer.typical is None]
    if not broken and limits:
        return f"no family of the space was found that keeps {'all limits at once' if len(limits) > 1 else limits[0]}"
    return "; ".join(broken)


def _check_mixup(config: SearchConfig) -> None:
    augmentation = config.training.augmentation
    has_outputs = any(network.outputs is not None for network in config.networks)
    if has_outputs and (augmentation.mixup or augmentation.cutmix):
        raise InputError(
            "teacher.outputs are of samples as they are, but training.augmentation mixes them "
            f"(mixup = {augmentation.mixup:g}, cutmix = {augmentation.cutmix:g}): set both to 0, or give a teacher "
            "that can be asked."
        )


def _check_batch(config: SearchConfig, dataset: Dataset) -> None:
    if len(dataset.input_shape) == 1 and min(config.training.batch_size, len(dataset.train)) == 1:
        raise InputError(
            "batch norm cannot train on one vector at a time: training.batch_size, and the number of training samples, "
            "must be at least 2."
        )


def _check_rungs(config: SearchConfig, dataset: Dataset) -> None:
    """Raise if two rungs end after the same step."""
    rungs, n_steps = config.training.rungs, steps_per_epoch(len(dataset.train), config.training.batch_size)
    for (rung, end), (next_rung, next_end) in pairwise((rung, step_at(rung, n_steps)) for rung in rungs):
        if end == next_end:
            raise InputError(
                f"training.rungs must be at least a step apart, but {rung:g} and {next_rung:g} epochs both end after "
                f"step {end}, as an epoch has {counted(n_steps, 'step')}."
            )


def _check_prunable(config: SearchConfig, teacher: Teacher) -> None:
    """Raise if the teacher is to be pruned, but has no weights that could be."""
    if config.teacher.pruning is not None and (teacher.network is None or not is_prunable(teacher.network)):
        raise InputError("teacher.pruning needs a module with convolutions or linear layers.")


def _check_layers(config: SearchConfig, teacher: Teacher) -> None:
    """Raise if a layer is named that the teacher does not have, also where no method needs features."""
    if teacher.network is not None:
        modules_named(teacher.network, config.teacher.layers or (), "teacher.layers: the teacher")


def _graph(
    teacher: Teacher, dataset: Dataset, student_shape: Shape, device: torch.device
) -> tuple[dict[str, Any] | None, str]:
    """The teacher's network as plain values of an architecture, or why students cannot have its graph.

    Args:
        teacher: The teacher.
        dataset: The samples.
        student_shape: Shape of a sample as students see it, on which a copy's layers must fit.
        device: Device that computes.
    """
    try:
        graph = traced_teacher(teacher, dataset.input_shape, device).architecture
        opened = OpenGraph.of(graph)
        opened.blueprint(student_shape, dataset.classes, opened.widths, "")
    except InputError as error:
        return None, str(error)
    except SpaceError as error:
        sizes = " x ".join(map(str, student_shape))
        return None, f"the teacher's graph cannot be copied for {KINDS[len(student_shape)]} of {sizes}: {error}"
    return graph.to_dict(), ""


def _spaces_without_copies(config: SearchConfig, why_no_graph: str, reporter: Reporter) -> tuple[str, ...]:
    """Those of several spaces that do not copy the teacher; none if all are left."""
    members = Choices(config).space.members
    copies = {name for name, each in members.items() if each.needs_teacher}
    if copies and copies == members.keys():
        raise InputError(f"space {next(iter(members.values())).name!r} copies the teacher, but {why_no_graph}")
    for name in sorted(copies):
        reporter.notify(f"space {name!r} is left out, since it copies the teacher, but {why_no_graph}")
    return tuple(name for name in members if name not in copies) if copies else ()


def _check_stored(name: str, method: Method, stored: Collection[OutputKind]) -> None:
    """Raise if the method wants more of a teacher that only this process has than is stored of it."""
    if is_live(method, stored):
        raise InputError(
            f"distillation method {name!r} runs the teacher in the workers, but it is given as an object: "
            "name it as `module:function`."
        )
