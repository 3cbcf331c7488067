"""What is checked and found out before a search begins: data, teacher, device, and whether the budget can be met."""

import platform
from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from autokd.config import SearchConfig
from autokd.data.sources import load_data
from autokd.device import pick_device, pick_precision
from autokd.errors import BudgetInfeasibleError
from autokd.problem import Facts, Problem
from autokd.seeds import derive
from autokd.teachers.teacher import Teacher, check_teacher, load_teacher
from search_spaces.envelope import Offer, envelope

__all__ = ["check_budget", "find_facts", "survey"]

DECISIVE_PACKAGES = ("autokd", "torch", "numpy", "optuna", "scipy")


def find_facts(config: SearchConfig, teacher: Teacher | None = None) -> Facts:
    """Load data and teacher, and check that the teacher is worth learning from.

    Args:
        config: The search.
        teacher: The teacher, where it is given as an object.

    Raises:
        InputError: If data or teacher are missing, do not fit together, or the teacher is too weak.
    """
    device = pick_device(config.workers.device)
    dataset = load_data(config.data)
    teacher = (teacher or load_teacher(config.teacher, device)).to(device)
    metrics = check_teacher(teacher, dataset, config.teacher.floor, device)
    return Facts(
        input_shape=dataset.input_shape,
        classes=dataset.classes,
        data_digest=dataset.digest,
        normalisation=dataset.normalisation,
        teacher_digest=teacher.digest,
        teacher_params=teacher.parameter_count,
        teacher_macs=_macs(teacher, dataset.input_shape, device),
        teacher_metrics=metrics,
        device=str(device),
        precision=pick_precision(config.training.precision, device),
        versions={"python": platform.python_version()} | {name: version(name) for name in DECISIVE_PACKAGES},
    )


def survey(problem: Problem) -> Sequence[Offer]:
    """What the space offers under each limit of the budget."""
    rng = np.random.default_rng(derive(problem.config.seed, "envelope"))
    return envelope(problem.space, problem.budget, problem.facts.input_shape, problem.facts.classes, rng)


def check_budget(offers: Sequence[Offer]) -> None:
    """Nothing, if some student meets the budget.

    Raises:
        BudgetInfeasibleError: Otherwise, with the limits that cannot be met.
    """
    broken = [
        f"{offer.limit} <= {offer.allowed:,}, but the smallest student has {offer.smallest:,}"
        for offer in offers
        if not offer.satisfiable
    ]
    if not broken and any(offer.allowed is not None and offer.typical is None for offer in offers):
        broken = ["no random family of the space keeps all limits at once"]
    if broken:
        raise BudgetInfeasibleError(
            f"the budget cannot be met: {'; '.join(broken)}. Raise the limit, or narrow the space to smaller graphs."
        )


def _macs(teacher: Teacher, input_shape: tuple[int, ...], device: torch.device) -> int | None:
    """Multiply-accumulates of one sample, as torch counts them; None if the teacher is not a module."""
    if teacher.parameter_count is None:
        return None
    with FlopCounterMode(display=False) as counter:
        teacher(torch.zeros(1, *input_shape, device=device))
    return int(counter.get_total_flops()) // 2
