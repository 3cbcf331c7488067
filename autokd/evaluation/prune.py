"""One round of pruning a teacher and training it again. Pure and idempotent, like an evaluation."""

import time

import torch
from torch import nn

from autokd.config.teacher import PRUNED
from autokd.core.rng import forked_rng
from autokd.data.dataset import Dataset
from autokd.distillation.pruning import mask_zeros, prune_globally, remaining_widths, remove_masks
from autokd.errors import InputError
from autokd.evaluation.context import TrainingContext
from autokd.teachers.graph import traced_teacher
from autokd.teachers.pruned import PrunedTeachers
from autokd.teachers.registry import Teacher, load_teacher
from autokd.teachers.training import as_teacher
from autokd.training.checkpoint import save_checkpoint, save_weights, undamaged_checkpoint
from autokd.training.loop import TrainingSettings, fresh_state
from autokd.training.metrics import label_metrics
from autokd.training.selection import averaged
from autokd.training.supervised import fit, label_stream

__all__ = ["prune_round"]


def prune_round(context: TrainingContext, rounds: int) -> None:
    """Prune a fifth of the remaining weights, train the others by the whole schedule, and write weights and figures.

    Nothing is done if the round's result exists. An interrupted training continues from its last whole epoch.

    Args:
        context: What is trained; it has pruned teachers.
        rounds: Number of the round, from 1; the one before is done.

    Raises:
        DivergedError: If the loss is no longer finite.
        InputError: If data or teacher are missing, or changed since the search began.
    """
    files = context.pruned
    if files is None or rounds not in files.missing:
        return
    started = time.monotonic()
    dataset, device = context.load_data(), torch.device(context.device)
    teacher = _before(context, files, rounds, dataset)
    network = _trainable(teacher)
    mask_zeros(network)
    prune_globally(network, PRUNED)
    with as_teacher(network, teacher.preparation, teacher.reading):
        images = _train(network, files, rounds, dataset, device)
    save_weights(network, files.weights(rounds))
    pruned = load_teacher(files.config(rounds), device, dataset)
    found = label_metrics(pruned.on_split(dataset, "validation", device), dataset.validation.labels.to(device))
    files.write_result(
        rounds,
        digest=pruned.digest,
        widths=_widths(pruned, dataset, device),
        seconds=round(time.monotonic() - started, 3),
        images=images,
        **found,
    )
    files.checkpoint(rounds).unlink(missing_ok=True)


def _widths(pruned: Teacher, dataset: Dataset, device: torch.device) -> dict[str, int]:
    """Widths that follow from the remaining weights, by the nodes of the teacher's graph; none if it has no graph."""
    try:
        traced = traced_teacher(pruned, dataset.input_shape, device)
    except InputError:
        return {}
    assert pruned.network is not None  # only modules have a graph
    of_modules = remaining_widths(pruned.network)
    named = zip(traced.architecture.names, traced.modules, strict=True)
    return {name: of_modules[modules[0]] for name, modules in named if modules and modules[0] in of_modules}


def _before(context: TrainingContext, files: PrunedTeachers, rounds: int, dataset: Dataset) -> Teacher:
    """The teacher before a round."""
    before, device = files.config(rounds - 1), torch.device(context.device)
    with forked_rng(device):  # initial weights are random
        teacher = load_teacher(before, device, dataset)
    if teacher.digest != (files.result(rounds - 1)["digest"] if rounds > 1 else files.teacher_digest):
        raise InputError(f"teacher {before.source} changed since the search began.")
    return teacher


def _trainable(teacher: Teacher) -> nn.Module:
    """Its network, with all its parameters open to training."""
    if teacher.network is None:
        raise InputError("teacher.pruning needs a factory that returns a module.")
    return teacher.network.requires_grad_(True)


def _train(network: nn.Module, files: PrunedTeachers, rounds: int, dataset: Dataset, device: torch.device) -> int:
    """Train a masked network, from its checkpoint if there is one; afterwards it has no masks.

    Returns the number of images of the whole training.
    """
    state = fresh_state(TrainingSettings.of(files.training), network)
    checkpoint = files.checkpoint(rounds)
    if saved := undamaged_checkpoint(checkpoint):
        saved.restore(state)
    stream = label_stream(dataset, files.training, files.epochs, files.seed, device)
    fit(state, stream, files.training, files.epochs, lambda state: save_checkpoint(state, checkpoint))
    with averaged(state):
        kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(kept)
    remove_masks(network)
    network.eval()
    return state.step * stream.batch_size
