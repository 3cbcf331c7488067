"""Teacher outputs computed before they are read, by workers or during training."""

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import torch

from autokd.data.dataset import Dataset
from autokd.distillation import Outputs
from autokd.errors import InputError, first_line
from autokd.evaluation.context import TrainingContext
from autokd.teachers.features import TeacherWithFeatures
from autokd.teachers.outputs.key import OutputsKey
from autokd.teachers.outputs.shapes import OutputShapes
from autokd.teachers.teacher import Teacher
from autokd.training.metrics import predict

__all__ = [
    "check_room",
    "check_teachers",
    "find_shapes",
    "missing_outputs",
    "output_shapes",
    "precompute_outputs",
    "store_shapes",
]

PROBED = 2  # samples: enough to see the shapes of a teacher's outputs
COMPARED = 256  # samples of which stored logits are compared with the teacher's
ALIKE = 0.05  # mean difference, in standard deviations of the logits, above which they are of another teacher


def output_shapes(
    context: TrainingContext, teacher: Teacher | None = None, dataset: Dataset | None = None
) -> OutputShapes:
    """Shapes of the teachers' outputs: read from the store, or found by `find_shapes` and then stored.

    Args:
        context: How the search trains.
        teacher: The teacher, if the context does not say how to load it.
        dataset: The samples, if they are already loaded.

    Raises:
        InputError: If the teacher cannot be loaded, or does not provide what the methods need.
    """
    return store_shapes(context, find_shapes(context, teacher, dataset))


def find_shapes(
    context: TrainingContext, teacher: Teacher | None = None, dataset: Dataset | None = None
) -> OutputShapes:
    """Shapes of the teachers' outputs: read from the store, or found by running the teacher on two samples.

    All teachers of a search are one module with different weights, so they share their shapes.

    Args:
        context: How the search trains.
        teacher: The teacher, if the context does not say how to load it.
        dataset: The samples, if they are already loaded.

    Raises:
        InputError: If the teacher cannot be loaded, or does not provide what the methods need.
    """
    path = _shapes_file(context)
    if path.exists():
        return OutputShapes.load(path)
    dataset = dataset or context.load_data()
    teacher = teacher or context.load_teacher(0, dataset)
    samples = context.stream(dataset).batch(_indices(context, range(min(PROBED, len(dataset.train)))), 0)
    with closing(
        TeacherWithFeatures(teacher, context.needs, context.precision, context.teacher.layers)
    ) as live_teacher:
        try:
            return OutputShapes.of(live_teacher(samples), len(dataset.train))
        except (RuntimeError, TypeError) as error:
            if context.precision == "float32":
                raise
            raise InputError(
                f'the teacher fails in {context.precision}: {first_line(error)}; try training.precision = "float32".'
            ) from error


def store_shapes(context: TrainingContext, shapes: OutputShapes) -> OutputShapes:
    """Store the shapes unless some are stored, and return those that are."""
    path = _shapes_file(context)
    if not path.exists():
        shapes.save(path)
    return OutputShapes.load(path)


def precompute_outputs(
    context: TrainingContext, key: OutputsKey, teacher: Teacher | None = None, dataset: Dataset | None = None
) -> None:
    """Compute and store one teacher's outputs for a view, a chunk of a view or a split, unless they are stored already.

    Two processes may do so at once: that is wasteful but harmless. Nothing is computed for splits that the teacher does
    not know, or for views that are not stored.

    Args:
        context: How the search trains.
        key: Which outputs.
        teacher: The teacher, if the context does not say how to load it.
        dataset: The samples, if they are already loaded.
    """
    if key.view is None:
        _store_split(context, key, teacher, dataset)
    else:
        shapes = output_shapes(context, teacher, dataset)
        for piece in _chunks(key, shapes):
            _store_chunk(context, piece, shapes, teacher, dataset)


def missing_outputs(context: TrainingContext, shapes: OutputShapes | None = None) -> list[OutputsKey]:
    """Keys of the teacher outputs that will be read and are not stored yet, views in chunks.

    Views are not divided into chunks while the shapes are unknown and only a teacher object could tell them.

    Args:
        context: How the search trains.
        shapes: Shapes of the teachers' outputs, if they are known.
    """
    if shapes is None and context.teacher.source is None and not _shapes_file(context).exists():
        return context.outputs_needed
    shapes = shapes or output_shapes(context)
    return [
        piece
        for key in context.outputs_needed
        for piece in _chunks(key, shapes)
        if not _is_stored(context, piece, shapes)
    ]


def check_teachers(context: TrainingContext, teacher: Teacher | None = None) -> None:
    """Check that data, and teachers of which outputs are stored, are those of the search, and return what is stored.

    A teacher of the same weights may have other code now. Whoever computes what is not stored loads its teacher, so
    that one is checked then. An object is taken for granted where it is not given, and an assistant whose code is ours.

    Args:
        context: How the search trains.
        teacher: The first teacher, if the context does not say how to load it.

    Raises:
        InputError: If data or a teacher are gone, another one, or have other code.
    """
    dataset = context.load_data()
    foreign = (number for number in context.assistants if context.made_from(number)[0].factory)
    for number in (*range(1 + len(context.further_digests)), *foreign):
        if (key := _comparable(context, number)) is not None:
            is_given = number == 0 and (teacher is not None or context.teacher.source is None)
            asked = teacher if is_given else context.load_teacher(number, dataset)
            if asked is not None and asked.network is not None:
                _check_code(context, key, asked, dataset)


def _check_code(context: TrainingContext, key: OutputsKey, teacher: Teacher, dataset: Dataset) -> None:
    """Raise if a network does not return what is stored of it, but for rounding."""
    stored = context.stored(key.teacher)
    now = _first_logits(context, key, teacher, dataset)
    before = stored.read(key.name).logits[: len(now)].float()
    now = now[: len(before)]
    is_alike = now.shape == before.shape
    if is_alike:
        now, before = (logits - logits.mean(1, keepdim=True) for logits in (now, before))  # a large mean is not stored
        is_alike = not bool((now - before).abs().mean() > ALIKE * now.std())
    if not is_alike:
        name = context.assistant_name(key.teacher)
        raise InputError(
            f"the outputs of {'the teacher' if name is None else f'assistant {name!r}'} in {stored.folder} are not "
            "those that it returns now: its weights are the same, but not its code. Bring that back to go on with a "
            "search; for a new one, remove that folder to have them computed again."
        )


def _comparable(context: TrainingContext, number: int) -> OutputsKey | None:
    """Stored outputs with which a network can be compared: those of the validation split, or else of the first view."""
    keys = (OutputsKey(number, part="validation"), OutputsKey(number, 0))
    return next((key for key in keys if context.stored(number).holds(key.name)), None)


def _first_logits(context: TrainingContext, key: OutputsKey, teacher: Teacher, dataset: Dataset) -> torch.Tensor:
    """What a network says now of the first samples of a split, or of a view in the precision of the training."""
    size = teacher.largest_batch(dataset.input_shape)
    if key.view is None:
        split = dataset.validation.take(torch.arange(min(COMPARED, len(dataset.validation))))
        return predict(teacher, split.to(torch.device(context.device)), dataset.normalisation, size).float().cpu()
    indices = torch.split(_indices(context, range(min(COMPARED, len(dataset.train)))), size)
    with closing(TeacherWithFeatures(teacher, frozenset(), context.precision)) as live_teacher:
        stream = context.stream(dataset)
        return torch.cat([live_teacher(stream.batch(each, key.view)).logits for each in indices]).float().cpu()


def check_room(context: TrainingContext, missing: Iterable[OutputsKey], shapes: OutputShapes | None = None) -> None:
    """Check that the disk has room for the chunks of views that are missing.

    Args:
        context: What is trained, and where outputs are stored.
        missing: Keys of the outputs that are missing.
        shapes: Shapes of the outputs; determined from the networks if omitted.

    Raises:
        InputError: If there is too little room.
    """
    pieces = [(key.teacher, key.chunk) for key in missing if key.chunk is not None]
    if pieces:
        shapes = shapes or output_shapes(context)
        chunks = [(chunk, context.stored_kinds(number, shapes)) for number, chunk in pieces]
        context.disk_budget(shapes).check_room(chunks, context.cache)


def _store_split(context: TrainingContext, key: OutputsKey, teacher: Teacher | None, dataset: Dataset | None) -> None:
    store = context.stored(key.teacher)
    if not store.holds(key.name):
        dataset = dataset or context.load_data()
        teacher = teacher or context.load_teacher(key.teacher, dataset)
        if teacher.knows(key.part):
            outputs = Outputs(teacher.on_split(dataset, key.part, torch.device(context.device)))
            store.write(key.name, [outputs], len(outputs.logits))


def _store_chunk(
    context: TrainingContext, key: OutputsKey, shapes: OutputShapes, teacher: Teacher | None, dataset: Dataset | None
) -> None:
    if _is_stored(context, key, shapes) or key.chunk is None:
        return
    dataset = dataset or context.load_data()
    teacher = teacher or context.load_teacher(key.teacher, dataset)
    parts = context.stored_kinds(key.teacher, shapes)
    samples = shapes.chunks[key.chunk]
    needs = frozenset(need for need in context.needs if need in parts)
    with closing(TeacherWithFeatures(teacher, needs, context.precision, context.teacher.layers)) as live_teacher:
        stream, size = context.stream(dataset), teacher.largest_batch(dataset.input_shape)
        batches = torch.split(_indices(context, samples), size)
        outputs = (live_teacher(stream.batch(indices, key.view or 0)) for indices in batches)
        context.stored(key.teacher).write(key.name, outputs, len(samples), parts, key.chunk)


def _is_stored(context: TrainingContext, key: OutputsKey, shapes: OutputShapes) -> bool:
    store = context.stored(key.teacher)
    if key.chunk is None:
        return store.holds(key.name)
    return store.holds(key.name, context.stored_kinds(key.teacher, shapes), key.chunk)


def _chunks(key: OutputsKey, shapes: OutputShapes) -> list[OutputsKey]:
    """The chunks of a view. A chunk or a split is a list of itself."""
    if key.view is None or key.chunk is not None:
        return [key]
    return [key._replace(chunk=chunk) for chunk in range(len(shapes.chunks))]


def _indices(context: TrainingContext, samples: range) -> torch.Tensor:
    return torch.arange(samples.start, samples.stop, device=torch.device(context.device))


def _shapes_file(context: TrainingContext) -> Path:
    return context.stored().folder / f"{'-'.join(['shapes', *sorted(context.needs)])}.json"
