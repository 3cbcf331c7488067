"""The panel stage of a search: workers train the assistants that are not given, before the first trial.

An assistant is a student of a teacher or of another assistant, and its training is an evaluation as any other. But it
is no trial, of which nothing must depend on it: like a pruned teacher it is a teacher made before the search. Once it
is made, the row of the search says so, in one transaction. Its trainings have files that are complete or absent, so an
interrupted stage goes on with the epoch at which it was, and finds the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import torch

from autokd.config.panel import TEACHER, AssistantConfig, PanelConfig
from autokd.core.files import write_atomically
from autokd.core.seeds import derive
from autokd.data.dataset import Dataset
from autokd.data.registry import load_data
from autokd.database.lease import Lease
from autokd.database.store import Store
from autokd.distillation import make_method
from autokd.errors import AutoKDError
from autokd.evaluation.context import TrainingContext
from autokd.evaluation.task import EvaluationResult, EvaluationTask, weights_file
from autokd.searches.assistants import Route, distillation_of, drawn_in, measured, routes, weighed
from autokd.searches.dispatcher import Dispatcher
from autokd.searches.panel_facts import AssistantFacts, PanelFacts
from autokd.searches.problem import Problem
from autokd.searches.retention import remove_files, surplus_of_assistants
from autokd.searches.tables import count, counted, duration, panel_lines, percent
from autokd.teachers.panel import Panel
from autokd.teachers.registry import Teacher, load_teacher
from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture

__all__ = ["PanelStage"]


@dataclass(frozen=True)
class PanelStage:
    """Trains assistants, and records them in the facts of the search.

    Attributes:
        store: The database.
        lease: The right to write to this search.
        problem: What is searched.
        dispatcher: Sends trainings to workers.
    """

    store: Store
    lease: Lease
    problem: Problem
    dispatcher: Dispatcher

    def run(self) -> Problem:
        """Train the assistants that are missing, weigh them if a method wants that, and return the problem with them.

        Raises:
            InputError: If data or teacher are gone, or the disk has no room.
            AutoKDError: If an assistant cannot be trained, or one whose files are gone would be another one now.
        """
        problem, section = self.problem, self.problem.config.panel
        if section is None or problem.methods.first_with_panel is None:
            return problem
        for assistant in section.assistants:
            if assistant.name not in _known(problem):
                problem = self._with_assistant(problem, section, assistant)
            elif not self._has_files(problem, assistant):
                self._train_again(problem, section, assistant)
        remove_files(surplus_of_assistants(problem), problem.depot)
        if problem.methods.weighs_panel and not _panel(problem).weights:
            problem = self._with_weights(problem)
        return problem

    def _with_assistant(self, problem: Problem, section: PanelConfig, assistant: AssistantConfig) -> Problem:
        """The problem with this assistant, which learns once by each route and is kept from the best."""
        names = [each.name for each in section.assistants]
        ways = routes(section, names[: names.index(assistant.name)])
        architecture = self._drawn(problem, assistant)
        self._say_what_begins(assistant, architecture, section, ways)
        tasks = [self._task(problem, section, assistant, architecture, way) for way in ways]
        for task in tasks:
            self.dispatcher.prepare(task.context)
        results = self.dispatcher.evaluated(tasks, f"assistant {assistant.name!r} cannot be trained")
        steps = {name: each.learnt_from for name, each in _known(problem).items()}
        chosen = max(range(len(ways)), key=lambda k: (_accuracy(results[k]), -_length(ways[k], steps)))
        facts = replace(
            self._measured(problem, assistant.name, tasks[chosen].key),
            learnt_from=ways[chosen],
            key=tasks[chosen].key,
            tried={_named(way): _accuracy(result) for way, result in zip(ways, results, strict=True)},
            seconds=sum(result.seconds for result in results),
            images=sum(result.metrics["images"] for result in results),
            live_teacher_images=sum(result.metrics["live_teacher_images"] for result in results),
        )
        together = sorted((*_known(problem).values(), facts), key=lambda each: names.index(each.name))
        problem = self._recorded(problem, PanelFacts(tuple(together)), facts)
        self.dispatcher.on_notify(_result_line(facts))
        return problem

    def _has_files(self, problem: Problem, assistant: AssistantConfig) -> bool:
        """Whether an assistant was given, or its files are there once what the depot has of them was fetched."""
        key = _known(problem)[assistant.name].key
        if key is None:
            return True
        weights = weights_file(problem.panel_folder, key)
        if problem.depot is not None and not weights.exists():
            problem.depot.fetch(weights.parent, changing=False)
        return weights.exists() and problem.assistant_file(assistant.name).exists()

    def _train_again(self, problem: Problem, section: PanelConfig, assistant: AssistantConfig) -> None:
        """Train an assistant again whose files are gone, as it was trained."""
        known = _known(problem)[assistant.name]
        self.dispatcher.on_notify(f"assistant {known.name}: its files are gone, so it is trained again")
        task = self._task(problem, section, assistant, self._drawn(problem, assistant), known.learnt_from)
        if task.key != known.key or self._digest_after(problem, task, known.name) != known.digest:
            raise AutoKDError(
                f"assistant {known.name!r}: its files in {problem.panel_folder} are gone, and its training now gives "
                "another network: bring them back, or begin a new search."
            )

    def _digest_after(self, problem: Problem, task: EvaluationTask, name: str) -> str:
        """Digest of an assistant after this training, which ends before."""
        self.dispatcher.prepare(task.context)
        self.dispatcher.evaluated([task], f"assistant {name!r} cannot be trained again")
        return load_teacher(problem.trained_assistant(name, task.key), self._device).digest

    def _with_weights(self, problem: Problem) -> Problem:
        dataset = load_data(problem.config.data)
        numbers = problem.context.assistants
        networks = [self._teacher(problem, dataset), *(problem.context.load_teacher(k, dataset) for k in numbers)]
        logits = [each.on_split(dataset, "validation", self._device) for each in networks]
        panel = weighed(_panel(problem), logits, dataset.validation.labels, problem.config.seed)
        problem = self._recorded(problem, panel)
        for line in panel_lines(panel)[len(panel.assistants) :]:
            self.dispatcher.on_notify("  ".join(line))
        return problem

    def _measured(self, problem: Problem, name: str, key: str) -> AssistantFacts:
        """What is known of the assistant with the weights of this training."""
        dataset = load_data(problem.config.data)
        network = load_teacher(problem.trained_assistant(name, key), self._device, dataset)
        networks = network, self._teacher(problem, dataset)
        logits, teacher = (each.on_split(dataset, "validation", self._device) for each in networks)
        return measured(name, network, logits, teacher, dataset.validation.labels)

    def _say_what_begins(
        self, assistant: AssistantConfig, architecture: Architecture, section: PanelConfig, ways: Sequence[Route]
    ) -> None:
        size, epochs = count(cost(architecture).params), counted(section.epochs, "epoch")
        sources = ", then ".join(map(_named, ways))
        self.dispatcher.on_notify(f"assistant {assistant.name}: {size} parameters, learns {epochs} from {sources}")

    def _drawn(self, problem: Problem, assistant: AssistantConfig) -> Architecture:
        """The assistant's architecture, which is written to its file, too."""
        found = drawn_in(problem, assistant)
        write_atomically(problem.assistant_file(assistant.name), lambda path: path.write_text(found.to_json()))
        return found

    def _task(
        self,
        problem: Problem,
        section: PanelConfig,
        assistant: AssistantConfig,
        architecture: Architecture,
        way: Route,
    ) -> EvaluationTask:
        """The training of an assistant by the first network of a route, and by the others beside it."""
        method, settings = distillation_of(section, len(way))
        return EvaluationTask(
            context=self._context(problem, section, way),
            architecture=architecture.to_json(),
            method=method,
            settings=tuple(sorted(settings.items())),
            rung=0,
            seed=derive(problem.config.seed, "assistant", assistant.name, *way),
            folder=problem.panel_folder,
            keeps_best=problem.config.final.keep == "best",
        )

    def _context(self, problem: Problem, section: PanelConfig, way: Route) -> TrainingContext:
        """What the trainings by a route share: those of the full-length trainings, but for length and teachers."""
        full, first = problem.retraining_context, way[0]
        needs = make_method(section.method, section.settings).needs
        assistants = {name: problem.assistant(_known(problem)[name]) for name in way if name != TEACHER}
        if first == TEACHER:
            teacher, digest = problem.config.teacher.numbered(0), full.teacher_digest
            needs = needs | full.needs  # what is stored then serves the students, too
        else:
            teacher, digest = assistants[first].config, assistants[first].digest
        return replace(
            full,
            teacher=teacher,
            teacher_digest=digest,
            further_digests=(),
            pruned=None,
            panel=Panel(tuple(assistants[name] for name in way[1:])) if way[1:] else None,
            needs=needs,
            is_tested=False,
            training=full.training.model_copy(update={"rungs": (section.epochs,)}),
        )

    def _teacher(self, problem: Problem, dataset: Dataset) -> Teacher:
        return self.dispatcher.teacher or problem.context.load_teacher(0, dataset)

    @property
    def _device(self) -> torch.device:
        return torch.device(self.problem.facts.device)

    def _recorded(self, problem: Problem, panel: PanelFacts, newest: AssistantFacts | None = None) -> Problem:
        """The problem with these facts, once they are recorded, with an event for the assistant that is new."""
        self.store.patience.call(lambda: self._record(panel, newest))
        return replace(problem, facts=replace(problem.facts, panel=panel))

    def _record(self, panel: PanelFacts, newest: AssistantFacts | None) -> None:
        with self.store.batch(self.lease):
            if newest is not None:
                payload = {
                    "name": newest.name,
                    "learnt_from": list(newest.learnt_from),
                    "accuracy": newest.accuracy,
                    "seconds": self.dispatcher.lap_seconds(),
                }
                self.store.record_event(self.lease, "assistant", payload)
            self.store.set_status(self.lease, "running", {"panel": asdict(panel)})


def _panel(problem: Problem) -> PanelFacts:
    """What is known of the panel so far."""
    return problem.facts.panel or PanelFacts()


def _known(problem: Problem) -> dict[str, AssistantFacts]:
    """The assistants that are there, by name."""
    return {each.name: each for each in _panel(problem).assistants}


def _accuracy(result: EvaluationResult) -> float:
    return result.metrics["accuracy"]


def _length(way: Route, steps: Mapping[str, Route]) -> int:
    """Number of trainings, one after the other, from the teacher to an assistant that learns by this route."""
    return 1 + max(_length(steps[name], steps) if steps.get(name) else 0 for name in way)


def _named(way: Route) -> str:
    return " + ".join(way)


def _result_line(facts: AssistantFacts) -> str:
    others = {name: accuracy for name, accuracy in facts.tried.items() if name != _named(facts.learnt_from)}
    rest = "".join(f"; {percent(accuracy)} from {name}" for name, accuracy in others.items())
    accuracy = f"{percent(facts.accuracy)} validation accuracy from {_named(facts.learnt_from)}"
    return f"assistant {facts.name}: {accuracy}{rest}, in {duration(facts.seconds)}"
