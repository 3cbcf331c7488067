"""Warm starts: a new network begins with weights of a trained one, of an earlier student or of the teacher."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from autokd.data.dataset import Dataset
from autokd.data.stream import evaluation_batches
from autokd.errors import AutoKDError, InputError, first_line
from autokd.evaluation.context import TrainingContext
from autokd.teachers.graph import traced_teacher
from autokd.teachers.slim_copy import fill, most_samples
from autokd.training.checkpoint import load_weights
from search_spaces.networks.network import Network, build
from search_spaces.networks.traced import copy_weights

__all__ = ["WarmStartGoneError", "begin_with_teacher", "inherit", "warm_start_weights"]

DRAWN = 0.8  # most of the training samples that are drawn for a fit, so that no two fits are on the same ones


class WarmStartGoneError(AutoKDError):
    """The weights that a student should inherit are gone."""


def warm_start_weights(path: Path) -> dict[str, Tensor]:
    """The state dict of the student whose weights are inherited.

    Raises:
        WarmStartGoneError: If its file is gone or damaged.
    """
    try:
        return load_weights(path)
    except InputError as error:
        raise WarmStartGoneError(
            f"{first_line(error)}: training.warm_start > 0 inherits weights from files of earlier evaluations, which "
            "must stay until the search ends."
        ) from None


def inherit(network: nn.Module, tensors: Mapping[str, Tensor], share: float) -> int:
    """Mix a network's tensors in place with inherited ones of the same name and shape, and return how many were mixed.

    A mixed tensor is `share * inherited + (1 - share) * fresh`; with a share of 1 it is the inherited one bit for bit.
    Batch norm's running statistics are mixed, its integer counts of batches are not. All other tensors stay unchanged.

    Ash and Adams 2020, "On Warm-Starting Neural Network Training", https://arxiv.org/abs/1910.08475, section 4:
    shrinking inherited weights towards 0 and perturbing them with fresh ones keeps what they learnt without the harm to
    generalisation. Unlike in the paper, one number sets both how far to shrink and how much to perturb.

    Args:
        network: A freshly initialised network.
        tensors: State dict of any network, on any device.
        share: Weight of the inherited tensors, in [0, 1].
    """
    inherited = 0
    with torch.no_grad():
        for name, fresh in network.state_dict().items():
            old = tensors.get(name)
            if old is not None and old.shape == fresh.shape and fresh.is_floating_point():
                fresh.lerp_(old.to(fresh), share)
                inherited += 1
    return inherited


def begin_with_teacher(network: Network, context: TrainingContext, dataset: Dataset, seed: int | None = None) -> None:
    """Give a slim copy of the first teacher as much of its weights as fits, in place; see `teachers/slim_copy.py`.

    Args:
        network: A fresh slim copy.
        context: What the search's evaluations share.
        dataset: The samples; some training samples are what its layers are fitted on.
        seed: Seed by which these are drawn, at most 4 in 5; by default they are spread evenly.

    Raises:
        InputError: If the teacher is gone, or another one.
    """
    device, teacher = torch.device(context.device), context.load_teacher(0, dataset)
    traced = traced_teacher(teacher, dataset.input_shape, device)
    assert teacher.network is not None  # as it was traced
    original = build(traced.architecture, device=device)
    copy_weights(traced, teacher.network, original)
    chosen = dataset.train.take(_fitted_on(len(dataset.train), most_samples(network.architecture), seed)).to(device)
    samples = next(evaluation_batches(chosen, dataset.normalisation, len(chosen)))
    fill(network, original, samples, teacher.prepared(samples), teacher.reading.classes)


def _fitted_on(n_train: int, most: int, seed: int | None) -> Tensor:
    """Indices of the training samples on which layers are fitted."""
    if seed is None:
        n = min(n_train, most)
        return torch.arange(n) * n_train // n
    n = max(1, min(int(DRAWN * n_train), most))
    return torch.randperm(n_train, generator=torch.Generator().manual_seed(seed))[:n].sort().values
