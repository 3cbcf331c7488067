"""The check of a panel before a search begins, which measures the assistants that are given."""

from collections.abc import Mapping
from itertools import pairwise

import torch

from autokd.config.panel import AssistantConfig, PanelConfig
from autokd.config.schema import SearchConfig
from autokd.data.channels import shape_of
from autokd.data.dataset import Dataset
from autokd.distillation import make_method
from autokd.errors import InputError
from autokd.searches.assistants import distillation_of, draw_assistant, measured, weighed
from autokd.searches.choices import Choices
from autokd.searches.panel_facts import PanelFacts
from autokd.searches.reporter import Reporter
from autokd.teachers.panel import as_assistant
from autokd.teachers.process_cache import cached_teacher
from autokd.teachers.registry import Teacher, check_made_from, load_teacher
from autokd.teachers.validation import check_same, check_teacher
from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture

__all__ = ["check_panel_config", "find_panel"]


def check_panel_config(choices: Choices) -> None:
    """Check that there are assistants where a method learns from them, how they are to be trained, and given files.

    Raises:
        InputError: If there are none, they cannot be trained so, or a function or file of a given one is not there.
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
        if panel.path == "dense" and len(panel.assistants) > 1:
            _check_dense(panel)
    except (InputError, TypeError) as error:
        raise InputError(f"panel.distillation: {error}") from None
    for each in panel.assistants:
        if not each.is_trained:
            with as_assistant(each.name):
                check_made_from(each.teacher)


def _check_dense(panel: PanelConfig) -> None:
    """Check that an assistant can learn from several networks at once by the panel's method."""
    rule = (
        'with panel.path = "dense" an assistant learns from all before by one method that begins with a loss of logits'
    )
    if ">" in panel.method:
        raise InputError(f"{rule}, but {panel.method!r} are two in turn: choose one of them, or another path.")
    try:
        make_method(*distillation_of(panel, len(panel.assistants)))
    except InputError:
        raise InputError(f"{rule}, but {panel.method!r} does not: write kd, or choose another path.") from None


def find_panel(
    config: SearchConfig,
    teacher: Teacher,
    dataset: Dataset,
    device: torch.device,
    graph: Architecture | None,
    why_no_graph: str,
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
        why_no_graph: Why it has none, if so.
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
            drawn = draw_assistant(each, config.seed, shape, dataset.classes, graph, why_no_graph)
            sizes[each.name] = cost(drawn).params
        else:
            sizes[each.name] = given[each.name].parameter_count
    _check_sizes(sizes)
    labels = dataset.validation.labels
    taught, *logits = (each.on_split(dataset, "validation", device) for each in (teacher, *given.values()))
    named = zip(given.items(), logits, strict=True)
    found = PanelFacts(tuple(measured(name, each, own, taught, labels) for (name, each), own in named))
    if methods.weighs_panel and len(given) == len(panel.assistants):
        return weighed(found, [taught, *logits], labels, config.seed)
    return found


def _loaded(assistant: AssistantConfig, dataset: Dataset, device: torch.device, reporter: Reporter) -> Teacher:
    """The network of a given assistant, once it is seen that it can teach."""
    config = assistant.teacher
    with as_assistant(assistant.name):
        found = load_teacher(config, device, dataset, reporter.notify)
        check_teacher(found, dataset, None, device, has_floor=False)
        check_same(config, found, cached_teacher(config, str(device), dataset))
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
