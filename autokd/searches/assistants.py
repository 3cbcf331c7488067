"""Assistants: how one is drawn and learns, what it is worth, and how much all weigh."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
from torch import Tensor

from autokd.config.panel import TEACHER, AssistantConfig, PanelConfig
from autokd.config.ranges import PlainValue
from autokd.core.seeds import derive
from autokd.distillation.panels.weights import panel_weights
from autokd.errors import InputError, first_line
from autokd.searches.panel_facts import AssistantFacts, PanelFacts
from autokd.searches.problem import Problem
from autokd.searches.references import NETWORKS
from autokd.teachers.teacher import Teacher
from autokd.training.metrics import teacher_metrics
from search_spaces.architecture.format import Architecture
from search_spaces.architecture.layers import Shape
from search_spaces.design.registry import space
from search_spaces.errors import BudgetError, SpaceError

__all__ = [
    "Route",
    "distillation_of",
    "draw_assistant",
    "drawn_in",
    "measured",
    "outputs_read",
    "routes",
    "weighed",
]

Route = tuple[str, ...]

TRIES = 20  # families that are drawn at random until one fits the limits of an assistant


def routes(section: PanelConfig, before: Sequence[str]) -> list[Route]:
    """From whom an assistant learns in each of its trainings: the networks that teach it at once.

    With the path "best" the most accurate way to every assistant before is known, so trying each of them as the last
    step finds the best of all chains, with K (K + 1) / 2 trainings for K assistants.

    Args:
        section: The section `[panel]`.
        before: Names of the assistants before it, from the largest on.
    """
    networks = [TEACHER, *before]
    if section.path == "chain":
        return [(networks[-1],)]
    return [tuple(networks)] if section.path == "dense" else [(name,) for name in networks]


def outputs_read(problem: Problem) -> set[tuple[str, str]]:
    """Digest of each network whose stored outputs trainings of assistants read, with the names of views and splits."""
    section, known, full = problem.config.panel, problem.facts.panel, problem.retraining_context
    if section is None or known is None:
        return set()
    names = [each.name for each in section.assistants]
    digests = {TEACHER: full.teacher_digest} | {each.name: each.digest for each in known.assistants}
    training = full.training.model_copy(update={"rungs": (section.epochs,)})
    alone = replace(full, training=training, further_digests=(), pruned=None, panel=None, is_tested=False)
    read = {key.name for key in alone.outputs_needed}
    views = read - {"validation"}
    found = set[tuple[str, str]]()
    for assistant in known.assistants:
        ways = routes(section, names[: names.index(assistant.name)]) if assistant.key is not None else ()
        for first, *others in ways:
            found.update((digests[first], name) for name in read)
            found.update((digests[other], name) for other in others for name in views)
    return found


def draw_assistant(
    assistant: AssistantConfig,
    seed: int,
    input_shape: Shape,
    classes: int,
    graph: Architecture | None,
    why_no_graph: str,
) -> Architecture:
    """The network of an assistant that is trained here.

    Args:
        assistant: The assistant.
        seed: Seed of the search.
        input_shape: Shape of one sample, without the batch.
        classes: Number of logits.
        graph: The teacher's network, for spaces that copy it; None if it has no such form.
        why_no_graph: Why it has none, if so.

    Raises:
        InputError: If the space or its ranges do not exist, it copies a teacher without such a form, or no family of
            it that was drawn fits the limits.
    """
    name, ranges = (assistant.space, assistant.ranges) if assistant.space else ("blocks", NETWORKS["resnet"])
    rng = np.random.default_rng(derive(seed, "assistant", assistant.name))
    try:
        chosen = space(name, **ranges)
        if graph is None and chosen.needs_teacher:
            raise SpaceError(f"space {name!r} copies the teacher, but {why_no_graph.removesuffix('.')}")
        chosen = chosen if graph is None else chosen.with_teacher(graph)
        for _ in range(TRIES - 1):
            with suppress(BudgetError):
                return chosen.sample(chosen.random_parameters(rng), assistant.budget, input_shape, classes, rng)
        return chosen.sample(chosen.random_parameters(rng), assistant.budget, input_shape, classes, rng)
    except SpaceError as error:
        raise InputError(f"assistant {assistant.name!r} cannot be drawn: {first_line(error)}.") from None


def drawn_in(problem: Problem, assistant: AssistantConfig) -> Architecture:
    """The network of an assistant that a search trains; see `draw_assistant`."""
    facts = problem.facts
    of_teacher = problem.teacher_graph, facts.why_no_graph
    return draw_assistant(assistant, problem.config.seed, facts.input_shape, facts.classes, *of_teacher)


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


def measured(name: str, network: Teacher, logits: Tensor, teacher: Tensor, labels: Tensor) -> AssistantFacts:
    """What is known of an assistant, whoever trained it.

    Args:
        name: Its name.
        network: The network.
        logits: Its logits for the validation split, `n x classes`.
        teacher: Logits of the teacher, `n x classes`.
        labels: int64, `n`.
    """
    accuracy = float((logits.argmax(1) == labels.to(logits.device)).double().mean())
    agreement = teacher_metrics(logits, teacher)["agreement"]
    return AssistantFacts(name, network.digest, network.parameter_count, accuracy, agreement)


def weighed(panel: PanelFacts, logits: Sequence[Tensor], labels: Tensor, seed: int) -> PanelFacts:
    """The panel with the weights of teacher and assistants.

    Args:
        panel: All assistants.
        logits: Logits of the teacher and of each assistant for the validation split, `n x classes`.
        labels: int64, `n`.
        seed: Seed of the search.
    """
    found = panel_weights(logits, labels, derive(seed, "panel"))
    return replace(panel, weights=found.by_rule, accuracy=found.accuracy, uniform_accuracy=found.uniform_accuracy)
