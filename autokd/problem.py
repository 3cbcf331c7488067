"""What is searched: the space, the distillation method and the facts of data and teacher, as one set of dimensions."""

import json
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import Trial

from autokd.ancestry import ancestor
from autokd.config import SearchConfig, TrainingConfig
from autokd.data.augmentation import check_augmentation
from autokd.database.rows import StudentRow, TrialRow
from autokd.errors import InputError
from autokd.evaluation import EvaluationTask
from autokd.ladder import Ladder
from autokd.lessons import LessonPlan
from autokd.methods import MethodChoice
from autokd.names import include_current_folder
from autokd.optimizers import pruner, sampler
from autokd.optimizers.errors import OptimizerError
from autokd.projection import project
from autokd.seeds import derive
from autokd.signals import SIGNALS, Signal
from search_spaces.architecture import Architecture
from search_spaces.budget import Budget
from search_spaces.cost import Cost, cost
from search_spaces.dimensions import Dimension, Value, low_ends
from search_spaces.errors import BudgetError, SpaceError
from search_spaces.layers import KINDS
from search_spaces.registry import space
from search_spaces.space import Space

__all__ = ["Facts", "Problem"]


@dataclass(frozen=True)
class Facts:
    """What a search found out about its data, teacher and machine before it began; a resumed search finds the same.

    Attributes:
        input_shape: Shape of a sample: channels, height and width; channels and length; or features.
        classes: Number of classes.
        data_digest: Digest of the samples.
        normalisation: Mean and deviation of each channel or feature, of values in `[0, 1]` or of raw float32.
        teacher_digest: Digest of the teacher.
        teacher_params: Its number of parameters, where it has any.
        teacher_macs: Its multiply-accumulates for one sample, where it is a module.
        teacher_metrics: Its metrics on the validation split.
        device: Name of the device that trains.
        precision: "float32" or "bfloat16".
        versions: Of Python and of the packages that decide results.
        further_teachers: Digests of the teachers beside the first, by their number.
    """

    input_shape: tuple[int, ...]
    classes: int
    data_digest: str
    normalisation: tuple[tuple[float, ...], tuple[float, ...]]
    teacher_digest: str
    teacher_params: int | None
    teacher_macs: int | None
    teacher_metrics: dict[str, float]
    device: str
    precision: str
    versions: dict[str, str]
    further_teachers: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Facts":
        """The facts among those that were recorded."""
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        mean, deviation = known["normalisation"]
        tuples = {
            "input_shape": tuple(known["input_shape"]),
            "normalisation": (tuple(mean), tuple(deviation)),
            "further_teachers": tuple(known.get("further_teachers", ())),
        }
        return cls(**(known | tuples))


@dataclass(frozen=True)
class Problem:
    """A search's configuration with its facts, and every decision that follows from them.

    All randomness derives from the configuration's seed and the number of the trial that it is for.

    Attributes:
        config: What the user asked for.
        facts: What was found out.
        home: Folder of all searches: their database and the teachers' outputs.
    """

    config: SearchConfig
    facts: Facts
    home: Path

    @cached_property
    def space(self) -> Space:
        """The search space, narrowed to the configured ranges."""
        include_current_folder()  # a user's space is "module:Class"; so are samplers and pruners below
        try:
            return space(self.config.space.name, **self.config.space.ranges)
        except SpaceError as error:
            raise InputError(f"space: {error}") from None

    @cached_property
    def methods(self) -> MethodChoice:
        """The distillation methods and teachers."""
        include_current_folder()
        return MethodChoice(self.config.distillation, tuple(self.config.teacher.courses))

    @cached_property
    def dimensions(self) -> dict[str, Dimension]:
        """Everything that the optimiser chooses: the space's dimensions, then the methods'."""
        ours, theirs = self.space.distributions(), self.methods.dimensions
        if shared := ours.keys() & theirs.keys():
            raise InputError(f"the space and the distillation method share the dimension {min(shared)!r}.")
        return ours | theirs

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The dimensions as Optuna's distributions, whether active or not."""
        return {name: dimension.distribution for name, dimension in self.dimensions.items()}

    @cached_property
    def told_of_graphs(self) -> dict[str, Any]:
        """Arguments for the optimiser: the `features` of graphs, None if there are none, and what is `described`."""
        features = self._graph_features if self._graph_features({}) else None
        return {"features": features, "described": tuple(self.space.distributions())}

    @property
    def signal(self) -> Signal:
        """By what trials are compared below the last rung."""
        return SIGNALS[self.config.optimizer.signal]

    @property
    def budget(self) -> Budget:
        """The device budget."""
        return Budget(**self.config.budget.model_dump())

    @property
    def last_rung(self) -> int:
        """Index of the last rung."""
        return len(self.config.training.rungs) - 1

    @property
    def folder(self) -> Path:
        """Folder of this search's files."""
        return self.home / "searches" / self.config.name

    @property
    def evaluations(self) -> Path:
        """Folder of all its evaluations' files."""
        return self.folder / "evaluations"

    @cached_property
    def plan(self) -> LessonPlan:
        """What the search's evaluations share."""
        return self._plan(self.config.training)

    @cached_property
    def final_plan(self) -> LessonPlan:
        """What the full-length trainings share."""
        final = self.config.final
        changes = final.model_dump(include={"schedule", "learning_rate", "ema", "views"}, exclude_none=True)
        changes["rungs"] = (final.epochs,)
        return replace(self._plan(self.config.training.model_copy(update=changes)), is_tested=True)

    def wants_trial(self, ladders: Collection[Ladder]) -> bool:
        """Whether another trial may begin: there are fewer than asked for, and time is left."""
        seconds = sum(row.seconds or 0.0 for ladder in ladders for row in ladder.evaluations)
        limit = self.config.seconds
        in_time = limit is None or seconds / self.config.workers.count < limit
        return len(ladders) < self.config.trials and in_time

    def propose(self, ladders: Iterable[Ladder], number: int) -> dict[str, Value]:
        """Parameters of trial `number`, after those trials: the same for the same rows.

        They fit the budget, if anything near the optimiser's choice does.
        """
        study = project(ladders, self.distributions)
        study.sampler = self._sampler(number)
        return self._fitted(_suggest(study.ask(), self.dimensions), number)

    def prunes(self, ladders: Iterable[Ladder], ladder: Ladder) -> bool:
        """Whether a trial's signal at its last rung is too bad among all trials' to train it on."""
        study = project(ladders, self.distributions, self.signal)
        trial = study.get_trials(deepcopy=False)[ladder.trial.number]
        return bool(self._pruner.prune(study, trial))

    def draw(self, trial: TrialRow, replicate: int, purpose: str = "search") -> tuple[Architecture, Cost]:
        """A student of the trial's family.

        Raises:
            BudgetError: If it does not fit at its smallest width.
        """
        rng = np.random.default_rng(self._seed(trial, replicate, purpose, "graph"))
        facts = self.facts
        architecture = self.space.sample(
            self.space_parameters(trial), self.budget, facts.input_shape, facts.classes, rng
        )
        return architecture, cost(architecture)

    def warm_from(self, ladders: Iterable[Ladder], trial: TrialRow, architecture: Architecture) -> str | None:
        """Key of the evaluation whose weights a new student of the trial inherits, as told by those trials' rows."""
        if not self.config.training.warm_start:
            return None
        family = self.space_parameters(trial)
        return ancestor(ladders, architecture, lambda other: self.space_parameters(other) == family)

    def space_parameters(self, trial: TrialRow) -> dict[str, Value]:
        """The trial's parameters that belong to the space."""
        return {name: value for name, value in trial.parameters.items() if name in self.space.distributions()}

    def task(self, trial: TrialRow, student: StudentRow, rung: int) -> EvaluationTask:
        """The evaluation of a student up to a rung; a final student has one rung, and is tested."""
        final = student.purpose == "final"
        return EvaluationTask(
            plan=self.final_plan if final else self.plan,
            architecture=json.dumps(student.architecture, sort_keys=True),
            method=self.methods.name(trial.parameters),
            settings=self.methods.settings(trial.parameters),
            rung=rung,
            seed=self._seed(trial, student.replicate, student.purpose, "training"),
            folder=self.evaluations,
            course=self.methods.course(trial.parameters),
            warm_from=student.warm_from,
            keeps_best=final and self.config.final.keep == "best",
        )

    def check(self) -> None:
        """Find mistakes that the first trial would find.

        Raises:
            InputError: If the space, the method, the optimiser, the augmentation or their settings do not exist or fit.
        """
        check_augmentation(self.plan.augmentation, self.facts.input_shape)
        _ = self.dimensions, self._pruner, self._sampler(0)
        self.methods.check()

    def check_signal(self) -> None:
        """Find a signal that no trial will have, once the teachers' answers are stored.

        Raises:
            InputError: If it compares with a teacher that says nothing of the validation split.
        """
        teachers = {self.plan.last_teacher(course) for course in range(len(self.plan.courses))}
        silent = [number for number in sorted(teachers) if not self.plan.stored(number).holds("validation")]
        if self.signal.needs_teacher and silent:
            others = ", ".join(name for name, signal in SIGNALS.items() if not signal.needs_teacher)
            raise InputError(
                f"optimizer.signal = {self.signal.metric!r} compares with the teacher's answers for the validation "
                f"split, of which teacher {silent[0]} gives none: choose one of {others}."
            )

    def _fitted(self, values: Mapping[str, Value], number: int) -> dict[str, Value]:
        """The values, with those of the space changed as little as it takes to fit the budget and the space's rules."""
        ours = self.space.distributions()
        chosen = {name: value for name, value in values.items() if name in ours}
        rng = np.random.default_rng(derive(self.config.seed, number, "fit"))
        with suppress(BudgetError):  # nothing near fits: the trial's draw will say so
            chosen = self.space.fit(chosen, self.budget, self.facts.input_shape, self.facts.classes, rng)
        return chosen | {name: value for name, value in values.items() if name not in ours}

    def _graph_features(self, values: Mapping[str, Value]) -> tuple[float, ...]:
        """Of the graph that the space's parameters among these make; one that is not there is at its low end."""
        ours: dict[str, Value] = {}
        for name, dimension in self.space.distributions().items():
            if dimension.is_active(self.space.fixed | ours):
                ours[name] = values.get(name, low_ends(dimension.distribution)[0])
        return self.space.features(self.space.complete(ours))

    def _sampler(self, number: int) -> BaseSampler:
        """A sampler for trial `number` alone: what it proposes depends on the rows and on nothing that it remembers."""
        told: dict[str, Any] = {
            "seed": derive(self.config.seed, "sampler") % 2**31,
            "search_space": self.distributions,
            "trial_number": number,
            **self.told_of_graphs,
        }
        options: Mapping[str, Any] = self.config.optimizer.options
        if taken := sorted(told.keys() & options.keys()):
            raise InputError(f"optimizer: the option {taken[0]!r} is the search's own.")
        include_current_folder()
        try:
            return sampler(self.config.optimizer.name, **told, **options)
        except OptimizerError as error:
            raise InputError(f"optimizer: {error}") from None

    @cached_property
    def _pruner(self) -> BasePruner:
        include_current_folder()
        try:
            return pruner(self.config.optimizer.pruner)
        except OptimizerError as error:
            raise InputError(f"optimizer.pruner: {error}") from None

    def _plan(self, training: TrainingConfig) -> LessonPlan:
        facts = self.facts
        views = training.views if KINDS[len(facts.input_shape)] == "images" else 1  # others are not augmented
        return LessonPlan(
            data=self.config.data,
            data_digest=facts.data_digest,
            teacher=self.config.teacher,
            teacher_digest=facts.teacher_digest,
            training=training.model_copy(update={"precision": facts.precision, "views": views}),
            seed=derive(self.config.seed, "stream"),
            cache=self.home / "teachers",
            device=facts.device,
            further_digests=facts.further_teachers,
            needs=self.methods.needs,
        )

    def _seed(self, trial: TrialRow, replicate: int, purpose: str, use: str) -> int:
        return derive(self.config.seed, trial.number, replicate, purpose, use)


def _suggest(trial: Trial, dimensions: dict[str, Dimension]) -> dict[str, Value]:
    """A value for every active dimension."""
    values: dict[str, Value] = {}
    for name, dimension in dimensions.items():
        if dimension.is_active(values):
            values[name] = trial._suggest(name, dimension.distribution)
    return values
