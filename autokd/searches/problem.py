"""What is searched: the choices of a configuration with the facts of data and teacher."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from optuna.study import Study

from autokd.config.fidelity_metrics import FIDELITY_METRICS
from autokd.config.parsing import recorded_config
from autokd.config.schema import TeacherConfig, TrainingConfig
from autokd.core.depot import Depot
from autokd.core.disk import check_space
from autokd.core.seeds import derive
from autokd.database.rows import SearchRow, StudentRow, TrialRow
from autokd.distillation.registry import weighs_panel
from autokd.errors import InputError
from autokd.evaluation.context import TrainingContext
from autokd.evaluation.remote import depot_of
from autokd.evaluation.task import EvaluationTask, weights_file
from autokd.searches.choices import BUDGET_SHARE, Choices
from autokd.searches.facts import Facts
from autokd.searches.lengths import FullLength
from autokd.searches.method_choice import MethodChoice
from autokd.searches.own_code import check_dimensions, own_space
from autokd.searches.panel_facts import AssistantFacts, PanelFacts
from autokd.searches.references import LIKE_TEACHER, NO_TEACHER, reference_methods, reference_space
from autokd.searches.study import earlier_study
from autokd.searches.trial_record import TrialRecord
from autokd.searches.warm_start_source import warm_start_source
from autokd.teachers.panel import Assistant, Panel
from autokd.teachers.pruned import PrunedTeachers
from autokd.training.timetable import new_epochs
from search_spaces.architecture.cost import Cost, cost
from search_spaces.architecture.format import Architecture
from search_spaces.architecture.layers import KINDS
from search_spaces.design.budget import Budget
from search_spaces.design.choice import SPACE
from search_spaces.design.dimensions import Dimension, Value
from search_spaces.design.space import Space
from search_spaces.errors import SpaceError

__all__ = ["DAMAGED", "Problem", "recorded_problem"]

DAMAGED = (InputError, LookupError, TypeError, ValueError)
"""What `recorded_problem` raises of a row of another version, or that was edited by hand."""

SPARE_BYTES = 64 * 10**6
"""Room that is left on the disk for the database, logs and results."""
COPIES = 10
"""Copies of a student's weights on the disk while it trains: those of two rungs, and a checkpoint that replaces another
one, each with the network, its average and the optimiser's state of two numbers a parameter."""
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Problem(Choices):
    """A search's configuration with its facts, and every decision that follows from them.

    All randomness derives from the configuration's seed and the number of the trial that it is for.

    Attributes:
        config: What the user asked for.
        facts: What was found out.
        home: Folder of all searches: their database and the teachers' outputs.
    """

    facts: Facts
    home: Path

    @cached_property
    def budget(self) -> Budget:
        """The limits that every student keeps; shares of the teacher are resolved."""
        recorded: dict[str, Any] | None = self.facts.budget
        return Budget(**recorded) if recorded else self.config.budget.resolved(self.facts.teacher_cost.limits)

    def panel_for(self, trial: TrialRow) -> PanelFacts | None:
        """What there is to say of the assistants beside a student: those that teach it, and no unused weights."""
        panel, methods = self.facts.panel, self.methods_of(trial)
        if panel is None:
            return None
        path = methods.path(trial.parameters)
        panel = panel if weighs_panel(methods.name(trial.parameters)) else panel.without_weights()
        return panel if path is None or self.config.panel is None else panel.of(self.config.panel.subsets[path])

    def budget_of(self, parameters: Mapping[str, Any]) -> Budget:
        """The limits within which the widths of a trial with these parameters are solved.

        They are those of the search but for costs that are objectives, of whose limits the trial has a share. So each
        share is one point of the epsilon-constraint method (Haimes et al. 1971): the most accurate student of at most
        this cost. The other limits hold whatever a student costs, and scaling them, too, would cost accuracy.
        """
        return self.budget.scaled(parameters.get(BUDGET_SHARE, 1.0), self.costs)

    @cached_property
    def space(self) -> Space:
        """The search space, without those of several that have no student within the budget."""
        return super().space.restricted(self.facts.spaces) if self.facts.spaces else super().space

    @cached_property
    def dimensions(self) -> dict[str, Dimension]:
        """Everything that the optimiser chooses, of spaces and methods that are as they were when the search began."""
        found = super().dimensions
        check_dimensions(self.config, self.facts.dimensions, found)
        return found

    @cached_property
    def teacher_graph(self) -> Architecture | None:
        """The teacher's network as an architecture; None if it has no such form, or was recorded before this was."""
        recorded = self.facts.graph
        return None if recorded is None else Architecture.from_dict(recorded)

    @cached_property
    def earlier_studies(self) -> Sequence[Study]:
        """What the optimiser learns from, as Optuna's studies."""
        return [earlier_study(each, self.distributions, len(self.costs)) for each in self.facts.earlier]

    @property
    def rungs(self) -> tuple[float, ...]:
        """Epochs at each rung: those of the configuration, or shorter ones if `min_trials` did not fit."""
        return self.facts.rungs or self.config.training.rungs

    @property
    def new_epochs(self) -> tuple[float, ...]:
        """Epochs that are trained to each rung, beyond those to the rung before."""
        training = self.config.training
        return new_epochs(training.schedule, self.rungs, training.cooldown)

    @property
    def pruned_widths(self) -> Mapping[str, int] | None:
        """Widths that follow from the most pruned teacher, by the teacher's nodes; None before the workers made it."""
        if self.pruned is None or self.pruned.missing:
            return None
        widths: dict[str, int] = self.pruned.result(self.pruned.n_rounds)["widths"]
        return widths

    @property
    def last_rung(self) -> int:
        """Index of the last rung."""
        return len(self.rungs) - 1

    @property
    def references(self) -> tuple[str, ...]:
        """Names of the references to train."""
        return self.config.references.names

    @property
    def folder(self) -> Path:
        """Folder of the search's files."""
        return self.home / "searches" / self.config.name

    @cached_property
    def depot(self) -> Depot | None:
        """The files at a URL, where workers do not see the folder of all searches."""
        return depot_of(self.config.workers.files, self.home)

    @property
    def evaluations(self) -> Path:
        """Folder of the files of all evaluations."""
        return self.folder / "evaluations"

    @cached_property
    def context(self) -> TrainingContext:
        """What the search's evaluations share."""
        return replace(self.storing_context, needs=self.methods.needs)

    @cached_property
    def storing_context(self) -> TrainingContext:
        """`context` without what methods need, which may be gone: enough to tell where outputs are stored."""
        return self._context(self.config.training.model_copy(update={"rungs": self.rungs}))

    @cached_property
    def retraining_context(self) -> TrainingContext:
        """What the retrainings at full length share."""
        final = self.config.final
        changes = final.model_dump(include={"schedule", "learning_rate", "ema", "views"}, exclude_none=True)
        changes["rungs"] = (self.full_length_epochs,)
        context = self._context(self.config.training.model_copy(update=changes))
        return replace(context, needs=self.methods.needs, is_tested=True)

    @property
    def full_length(self) -> FullLength | None:
        """The length that was decided for `final.seconds`; None without that, even if there was one before."""
        return None if self.config.final.seconds is None else self.facts.full_length

    @property
    def full_length_epochs(self) -> float:
        """Length of the full-length trainings: what was decided for `final.seconds`, else `final.epochs`."""
        most = self.config.final.epochs
        return most if self.full_length is None else self.full_length.epochs(most)

    def wants_trial(self, n_trials: int, worker_seconds: float, prepared: float = 0.0) -> bool:
        """Whether another trial may begin: fewer were opened than asked for, and time is left.

        Args:
            n_trials: Number of trials that were opened.
            worker_seconds: Seconds that all evaluations took in their workers, those of references included.
            prepared: Seconds that the teacher's outputs took before the first trial.
        """
        limit = self.config.seconds
        in_time = limit is None or prepared + worker_seconds / self.config.workers.count < limit
        return n_trials < self.config.trials and in_time

    def check_space(self) -> None:
        """Check that the disk has room for the files of as many students as there are workers.

        Raises:
            DiskFullError: If it has not.
        """
        needed = SPARE_BYTES + COPIES * self.largest_model_bytes * self.config.workers.count
        check_space(self.home, needed, "trainings", "make room")

    @property
    def largest_model_bytes(self) -> int:
        """Size of the largest student that the budget allows; the teacher's where it limits only other costs."""
        limits = self.budget.limits
        sizes = [limits[name] for name in ("model_bytes", "memory_bytes") if name in limits]
        if "params" in limits:
            sizes.append(FLOAT_BYTES * limits["params"])
        return min(sizes, default=self.facts.teacher_model_bytes or 0)

    def draw(self, trial: TrialRow, replicate: int, purpose: str = "search") -> tuple[Architecture, Cost]:
        """Draw a student of the trial's family, or the student of a reference that has a space of its own.

        Args:
            trial: The trial or reference.
            replicate: Number of the draw.
            purpose: "search" or "final", as in `StudentRow`.

        Raises:
            BudgetError: If the student does not fit the budget at its smallest width.
            SpaceError: If it is to be like a teacher whose graph is not known, or a user's space fails.
        """
        rng = np.random.default_rng(self._seed(trial, replicate, purpose, "graph"))
        facts = self.facts
        space, parameters = self._family(trial)
        budget = self.budget_of(trial.parameters)
        with own_space(None if trial.reference else self.space_name(trial.parameters)):
            architecture = space.sample(parameters, budget, facts.input_shape, facts.classes, rng)
        return architecture, cost(architecture)

    def warm_from(
        self, trial_records: Iterable[TrialRecord], trial: TrialRow, architecture: Architecture
    ) -> str | None:
        """Key of the evaluation whose weights a new student inherits; None without warm starts, a source, or a trial.

        Args:
            trial_records: All trials.
            trial: The new student's trial.
            architecture: The new student.
        """
        if not self.config.training.warm_start or trial.reference is not None:
            return None
        family = self.space_parameters(trial)
        return warm_start_source(trial_records, architecture, lambda other: self.space_parameters(other) == family)

    def space_name(self, parameters: Mapping[str, Any]) -> str | None:
        """Name of the space to which parameters of a trial belong."""
        name: str | None = parameters.get(SPACE, self.config.space.name)
        return name

    def space_parameters(self, trial: TrialRow) -> dict[str, Value]:
        """The parameters of the trial that belong to the search space."""
        return {name: value for name, value in trial.parameters.items() if name in self.space.distributions()}

    def describe(self, trial: TrialRow) -> str:
        """The family of a trial, or the architecture of a reference, in words."""
        if trial.reference == NO_TEACHER:
            return f"the student of trial {trial.parameters['trial']}"
        try:
            space, parameters = self._family(trial)
            return space.describe(space.complete(parameters))
        except SpaceError:
            if trial.reference == LIKE_TEACHER:  # its teacher cannot be copied
                return "a slim copy of the teacher"
            raise

    def family(self, trial: TrialRow) -> dict[str, Any]:
        """Parameters of a trial's family, fixed ones included, or of a reference."""
        if trial.reference is not None:
            return dict(trial.parameters)
        return dict(self.space.complete(self.space_parameters(trial)))

    def methods_of(self, trial: TrialRow) -> MethodChoice:
        """The distillation methods among which the parameters of a trial or reference choose."""
        return self.methods if trial.reference is None else reference_methods(trial.parameters)

    def task(self, trial: TrialRow, student: StudentRow, rung: int) -> EvaluationTask:
        """The evaluation of a student up to a rung; a retrained student has one rung, and is tested.

        Args:
            trial: The student's trial or reference.
            student: The student.
            rung: Index of the rung.
        """
        final, methods = student.purpose == "final", self.methods_of(trial)
        context = self.retraining_context if final else self.context
        return EvaluationTask(
            context=self._by_path(context, methods.path(trial.parameters)),
            architecture=json.dumps(student.architecture, sort_keys=True),
            method=methods.name(trial.parameters),
            settings=methods.settings(trial.parameters),
            rung=rung,
            seed=self._seed(trial, student.replicate, student.purpose, "training"),
            folder=self.evaluations,
            teacher_schedule=methods.teacher_schedule(trial.parameters),
            warm_from=student.warm_from,
            from_teacher=self._begins_with_teacher(trial, student),
            replicate=student.replicate,
            keeps_best=final and self.config.final.keep == "best",
        )

    def _begins_with_teacher(self, trial: TrialRow, student: StudentRow) -> bool:
        """Whether a student is a slim copy that begins with its teacher's weights; references begin anew.

        Workers must be able to load the teacher, and it must see what students see.
        """
        config, graph = self.config, self.teacher_graph
        is_copy = student.architecture["space"] == LIKE_TEACHER and trial.reference is None
        sees_the_same = graph is not None and graph.input_shape == self.facts.input_shape
        is_at_hand = config.teacher.source is not None and config.data.student_channels is None
        return config.training.from_teacher and is_copy and sees_the_same and is_at_hand

    def _by_path(self, context: TrainingContext, path: str | None) -> TrainingContext:
        """The context with those assistants alone that teach by a path; None for all."""
        if path is None or context.panel is None or self.config.panel is None:
            return context
        return replace(context, panel=context.panel.of(self.config.panel.subsets[path]))

    def check_fidelity_metric(self) -> None:
        """Check, once the teacher outputs are stored, that every trial will have the fidelity metric.

        Raises:
            InputError: If the metric compares with a teacher that has no outputs for the validation split.
        """
        teachers = {
            self.context.last_teacher(teacher_schedule)
            for teacher_schedule in range(len(self.context.teacher_schedules))
        }
        silent = [number for number in sorted(teachers) if not self.context.stored(number).holds("validation")]
        if self.fidelity_metric.needs_teacher and silent:
            others = ", ".join(name for name, metric in FIDELITY_METRICS.items() if not metric.needs_teacher)
            raise InputError(
                f"optimizer.signal = {self.fidelity_metric.name!r} compares with the teacher's outputs for the "
                f"validation split, but teacher {silent[0]} has none: choose one of {others}."
            )

    def _family(self, trial: TrialRow) -> tuple[Space, dict[str, Value]]:
        """The space of a trial or reference, and the parameters that belong to it."""
        if trial.reference is None:
            return self.space, self.space_parameters(trial)
        if trial.reference == LIKE_TEACHER and self.teacher_graph is None:
            raise SpaceError(self.facts.why_no_graph or "the teacher's graph was not recorded")
        return reference_space(trial.parameters, self.teacher_graph).tilted(self.config.space.tilt), {}

    def _context(self, training: TrainingConfig) -> TrainingContext:
        facts = self.facts
        views = training.views if KINDS[len(facts.input_shape)] == "images" else 1  # others are not augmented
        return TrainingContext(
            data=self.config.data,
            data_digest=facts.data_digest,
            teacher=self.config.teacher,
            teacher_digest=facts.teacher_digest,
            training=training.model_copy(update={"precision": facts.precision, "views": views}),
            seed=derive(self.config.seed, "stream"),
            cache=self.home / "teachers",
            device=facts.device,
            further_digests=facts.further_teachers,
            pruned=self.pruned,
            panel=self.panel,
        )

    @cached_property
    def panel(self) -> Panel | None:
        """The assistants, if methods learn from them, and once all of them are trained."""
        recorded, section = self.facts.panel, self.config.panel
        if recorded is None or section is None or len(recorded.assistants) < len(section.assistants):
            return None
        return Panel(tuple(map(self.assistant, recorded.assistants)), recorded.weights)

    @property
    def lacks_assistants(self) -> bool:
        """Whether methods learn from assistants, some of which are still to be trained."""
        return self.methods.first_with_panel is not None and self.panel is None

    def assistant(self, facts: AssistantFacts) -> Assistant:
        """A recorded assistant, as workers find it."""
        given = {each.name: each for each in self.config.panel.assistants} if self.config.panel else {}
        config = given[facts.name].teacher if facts.key is None else self.trained_assistant(facts.name, facts.key)
        return Assistant(facts.name, config, facts.digest)

    def trained_assistant(self, name: str, key: str) -> TeacherConfig:
        """What an assistant that was trained here is made from.

        Args:
            name: Its name.
            key: Key of its training.
        """
        return TeacherConfig(
            architecture=str(self.assistant_file(name)),
            weights=str(weights_file(self.panel_folder, key)),
            channels=self.config.data.student_channels,
            disk_bytes=self.config.teacher.disk_bytes,
        )

    @property
    def panel_folder(self) -> Path:
        """Folder of the files of assistants that are trained here."""
        return self.folder / "panel"

    def assistant_file(self, name: str) -> Path:
        """File of the architecture of an assistant that is trained here."""
        return self.panel_folder / f"{name}.json"

    @cached_property
    def pruned(self) -> PrunedTeachers | None:
        """The pruned teachers, if there are to be any; they do not depend on how students are trained."""
        pruning = self.config.teacher.pruning
        if pruning is None:
            return None
        return PrunedTeachers(
            teacher=self.config.teacher.numbered(0),
            teacher_digest=self.facts.teacher_digest,
            data_digest=self.facts.data_digest,
            training=self.config.training.model_copy(update={"precision": self.facts.precision}),
            epochs=pruning.epochs,
            seed=derive(self.config.seed, "pruning"),
            root=self.home / "teachers",
            wanted=tuple(pruning.rounds.values()),
        )

    def _seed(self, trial: TrialRow, replicate: int, purpose: str, use: str) -> int:
        return derive(self.config.seed, trial.reference or trial.number, replicate, purpose, use)


def recorded_problem(row: SearchRow, home: Path, what: str | None = None) -> Problem:
    """What is searched, as the row of a search says, which may be of another version, or damaged.

    Args:
        row: The row.
        home: Folder of all searches.
        what: What its configuration is called in error messages; by default by the name of the search.

    Raises:
        InputError: If the configuration cannot be read.
        LookupError: If the facts lack something.
        TypeError: If they have another form.
        ValueError: If they have another form.
    """
    config = recorded_config(dict(row.config), what or f"search {row.name}")
    return Problem(config, Facts.from_dict(row.facts), home)
