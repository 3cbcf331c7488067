"""The check of a panel: its assistants are asked about the validation samples, and weighed."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch

from autokd.config.panel import AssistantConfig
from autokd.config.schema import SearchConfig
from autokd.core.seeds import derive
from autokd.data.dataset import Dataset
from autokd.distillation.panels.weights import panel_weights
from autokd.errors import InputError, first_line
from autokd.searches.assistants import AssistantFacts, PanelFacts
from autokd.searches.choices import Choices
from autokd.searches.reporter import Reporter
from autokd.teachers.process_cache import cached_teacher
from autokd.teachers.registry import Teacher, load_teacher
from autokd.teachers.validation import check_same, check_teacher
from autokd.training.metrics import teacher_metrics

__all__ = ["check_panel_config", "find_panel"]


def check_panel_config(choices: Choices) -> None:
    """Check that there are assistants where a method learns from them.

    Raises:
        InputError: If there are none.
    """
    if choices.config.panel is None and (name := choices.methods.first_with_panel):
        raise InputError(
            f"distillation method {name!r} learns from assistants: describe some in [[panel.assistants]], each by a "
            "name and what it is made from."
        )


def find_panel(
    config: SearchConfig, teacher: Teacher, dataset: Dataset, device: torch.device, reporter: Reporter
) -> PanelFacts | None:
    """Load the assistants and check that they are worth learning from; None if no method learns from any.

    Args:
        config: The search.
        teacher: The teacher.
        dataset: The samples.
        device: Device of the networks.
        reporter: Hears of a panel that no method learns from.

    Raises:
        InputError: If an assistant cannot be made, does not fit the data, is too weak, another one each time it is made
            or not smaller than the network before it.
    """
    methods = Choices(config).methods
    if config.panel is None:
        return None
    if methods.first_with_panel is None:
        reporter.notify("panel: no method learns from assistants, so they are left out")
        return None
    assistants = {each.name: _loaded(each, dataset, device, reporter) for each in config.panel.assistants}
    _check_sizes({"the teacher": teacher, **assistants})
    logits = [each.on_split(dataset, "validation", device) for each in (teacher, *assistants.values())]
    return PanelFacts(
        tuple(
            AssistantFacts(name, each.digest, each.parameter_count, **_figures(own, logits[0], dataset))
            for (name, each), own in zip(assistants.items(), logits[1:], strict=True)
        ),
        **(_weights(logits, dataset, derive(config.seed, "panel")) if methods.weighs_panel else {}),
    )


def _loaded(assistant: AssistantConfig, dataset: Dataset, device: torch.device, reporter: Reporter) -> Teacher:
    """The network of an assistant, once it is seen that it can teach."""
    config = assistant.teacher
    try:
        found = load_teacher(config, device, dataset, reporter.notify)
        check_teacher(found, dataset, None, device)
        check_same(config, found, cached_teacher(config, str(device), dataset))
    except InputError as error:
        raise InputError(f"assistant {assistant.name!r}, as a teacher: {first_line(error)}.") from None
    return found


def _check_sizes(networks: Mapping[str, Teacher]) -> None:
    """Raise if a network is not smaller than the one before it, as far as their sizes can be told."""
    known = [(name, each.parameter_count) for name, each in networks.items() if each.parameter_count is not None]
    for (larger, before), (smaller, params) in pairwise(known):
        if params >= before:
            raise InputError(
                f"the assistants of a panel must fall in size, from the teacher on, but {smaller} has {params:,} "
                f"parameters and {larger} has {before:,}."
            )


def _figures(logits: torch.Tensor, teacher: torch.Tensor, dataset: Dataset) -> dict[str, float]:
    labels = dataset.validation.labels.to(logits.device)
    accuracy = float((logits.argmax(1) == labels).double().mean())
    return {"accuracy": accuracy, "agreement": teacher_metrics(logits, teacher)["agreement"]}


def _weights(logits: Sequence[torch.Tensor], dataset: Dataset, seed: int) -> dict[str, Any]:
    found = panel_weights(logits, dataset.validation.labels, seed)
    return {"weights": found.by_rule, "accuracy": found.accuracy, "uniform_accuracy": found.uniform_accuracy}
