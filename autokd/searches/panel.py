"""The check of a panel: given assistants are asked about the validation samples, and all that are given are weighed."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autokd.config.panel import AssistantConfig, PanelConfig
from autokd.config.ranges import PlainValue
from autokd.config.schema import SearchConfig
from autokd.core.seeds import derive
from autokd.data.channels import shape_of
from autokd.data.dataset import Dataset
from autokd.distillation import make_method
from autokd.distillation.panels.weights import panel_weights
from autokd.errors import InputError, first_line
from autokd.searches.assistants import AssistantFacts, PanelFacts
from autokd.searches.choices import Choices
from autokd.searches.references import NETWORKS
from autokd.searches.reporter import Reporter
from autokd.teachers.process_cache import cached_teacher
from autokd.teachers.registry import Teacher, load_teacher
from autokd.teachers.validation import check_same, check_teacher
from autokd.training.metrics import teacher_metrics
from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture
from search_spaces.architecture.layers import Shape
from search_spaces.design.registry import space
from search_spaces.errors import BudgetError, SpaceError

__all__ = ["check_panel_config", "distillation_of", "draw_assistant", "find_panel", "measured", "weighed"]

TRIES = 20  # families that are drawn at random until one fits the limits of an assistant


def check_panel_config(choices: Choices) -> None:
    """Check that there are assistants where a method learns from them, and how they are to be trained.

    Raises:
        InputError: If there are none, or they cannot be trained so.
    """
    panel = choices.config.panel
    if panel is None and (name := choices.methods.first_with_panel):
        raise InputError(
            f"distillation method {name!r} learns from assistants: describe some in [[panel.assistants]], each by a "
            "name and what it is made from, or a limit within which it is drawn and trained."
        )
    if panel is None:
        return
    try:
        if make_method(panel.method, panel.settings).learns_from_panel:
            raise InputError(
                f'assistants learn from one network, or from all before with panel.path = "dense", but '
                f"{panel.method!r} is for students."
            )
        make_method(*distillation_of(panel, len(panel.assistants) if panel.path == "dense" else 1))
    except (InputError, TypeError) as error:
        raise InputError(f"panel.distillation: {error}") from None


def distillation_of(panel: PanelConfig, n_teachers: int) -> tuple[str, dict[str, PlainValue]]:
    """Method and hyper-parameters by which an assistant learns from one network, or from several at once.

    Args:
        panel: The section `[panel]`.
        n_teachers: Number of networks that teach it.
    """
    if n_teachers == 1:
        return panel.method, panel.settings
    prefix = "" if "+" in panel.method else f"{panel.method}."
    return f"dgkd+{panel.method}", {"dgkd.drop": 0} | {prefix + key: value for key, value in panel.settings.items()}


def find_panel(
    config: SearchConfig,
    teacher: Teacher,
    dataset: Dataset,
    device: torch.device,
    graph: Architecture | None,
    reporter: Reporter,
) -> PanelFacts | None:
    """Load the given assistants and check that they are worth learning from; None if no method learns from any.

    Those that are to be trained are drawn, for their sizes.

    Args:
        config: The search.
        teacher: The teacher.
        dataset: The samples.
        device: Device of the networks.
        graph: The teacher's network, for spaces that copy it; None if it has no such form.
        reporter: Hears of a panel that no method learns from.

    Raises:
        InputError: If an assistant cannot be made or drawn, does not fit the data, is too weak, another one each time
            it is made or not smaller than the network before it.
    """
    methods, panel = Choices(config).methods, config.panel
    if panel is None:
        return None
    if methods.first_with_panel is None:
        reporter.notify("panel: no method learns from assistants, so they are left out")
        return None
    shape = shape_of(dataset.input_shape, config.data.student_channels)
    given = {each.name: _loaded(each, dataset, device, reporter) for each in panel.assistants if not each.is_trained}
    sizes = {"the teacher": teacher.parameter_count}
    for each in panel.assistants:
        if each.is_trained:
            sizes[each.name] = cost(draw_assistant(each, config.seed, shape, dataset.classes, graph)).params
        else:
            sizes[each.name] = given[each.name].parameter_count
    _check_sizes(sizes)
    logits = [each.on_split(dataset, "validation", device) for each in (teacher, *given.values())]
    figures = (measured(name, each, logits[0], dataset) for name, each in given.items())
    is_complete = methods.weighs_panel and len(given) == len(panel.assistants)
    return PanelFacts(tuple(figures), **(weighed(logits, dataset, config.seed) if is_complete else {}))


def draw_assistant(
    assistant: AssistantConfig, seed: int, input_shape: Shape, classes: int, graph: Architecture | None
) -> Architecture:
    """The network of an assistant that is trained here.

    Args:
        assistant: The assistant.
        seed: Seed of the search.
        input_shape: Shape of one sample, without the batch.
        classes: Number of logits.
        graph: The teacher's network, for spaces that copy it; None if it has no such form.

    Raises:
        InputError: If the space or its ranges do not exist, or no family of it that was drawn fits the limits.
    """
    name, ranges = (assistant.space, assistant.ranges) if assistant.space else ("blocks", NETWORKS["resnet"])
    rng = np.random.default_rng(derive(seed, "assistant", assistant.name))
    try:
        chosen = space(name, **ranges)
        chosen = chosen if graph is None else chosen.with_teacher(graph)
        for _ in range(TRIES - 1):
            with suppress(BudgetError):
                return chosen.sample(chosen.random_parameters(rng), assistant.budget, input_shape, classes, rng)
        return chosen.sample(chosen.random_parameters(rng), assistant.budget, input_shape, classes, rng)
    except SpaceError as error:
        raise InputError(f"assistant {assistant.name!r} cannot be drawn: {first_line(error)}.") from None


def measured(name: str, network: Teacher, teacher: Tensor, dataset: Dataset, **training: Any) -> AssistantFacts:
    """What is known of an assistant.

    Args:
        name: Its name.
        network: The network.
        teacher: Logits of the teacher for the validation split.
        dataset: The samples.
        **training: Further facts, of its training.
    """
    logits, labels = network.on_split(dataset, "validation", teacher.device), dataset.validation.labels
    accuracy = float((logits.argmax(1) == labels.to(logits.device)).double().mean())
    agreement = teacher_metrics(logits, teacher)["agreement"]
    return AssistantFacts(name, network.digest, network.parameter_count, accuracy, agreement, **training)


def weighed(logits: Sequence[Tensor], dataset: Dataset, seed: int) -> dict[str, Any]:
    """Facts of a panel: the weights of teacher and assistants.

    Args:
        logits: Logits of the teacher and of each assistant for the validation split.
        dataset: The samples.
        seed: Seed of the search.
    """
    found = panel_weights(logits, dataset.validation.labels, derive(seed, "panel"))
    return {"weights": found.by_rule, "accuracy": found.accuracy, "uniform_accuracy": found.uniform_accuracy}


def _loaded(assistant: AssistantConfig, dataset: Dataset, device: torch.device, reporter: Reporter) -> Teacher:
    """The network of a given assistant, once it is seen that it can teach."""
    config = assistant.teacher
    try:
        found = load_teacher(config, device, dataset, reporter.notify)
        check_teacher(found, dataset, None, device)
        check_same(config, found, cached_teacher(config, str(device), dataset))
    except InputError as error:
        raise InputError(f"assistant {assistant.name!r}, as a teacher: {first_line(error)}.") from None
    return found


def _check_sizes(sizes: Mapping[str, int | None]) -> None:
    """Raise if a network is not smaller than the one before it, as far as their sizes can be told."""
    known = [(name, params) for name, params in sizes.items() if params is not None]
    for (larger, before), (smaller, params) in pairwise(known):
        if params >= before:
            raise InputError(
                f"the assistants of a panel must fall in size, from the teacher on, but {smaller} has {params:,} "
                f"parameters and {larger} has {before:,}."
            )
