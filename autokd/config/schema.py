"""The schema of `search.toml`: every section and key, with bounds and defaults."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from autokd.config.budget import BudgetSection
from autokd.config.compatibility import as_digested, is_recorded, without_later_keys
from autokd.config.data import DataConfig
from autokd.config.distillation import DistillationConfig, DistinctNames
from autokd.config.distinct import distinct
from autokd.config.fidelity_metrics import FIDELITY_METRICS
from autokd.config.learn_from import LearnFrom
from autokd.config.names import NAME
from autokd.config.numbers import (
    Epochs,
    Fraction,
    NonNegative,
    Number,
    Points,
    Positive,
    PositiveFraction,
    Seconds,
    Seed,
    Shift,
    Views,
    check_number,
)
from autokd.config.objectives import Against, Objectives
from autokd.config.panel import PanelConfig
from autokd.config.ranges import OneValue, Ranges
from autokd.config.section import Section
from autokd.config.teacher import TeacherConfig
from autokd.config.tracking import TrackingConfig
from autokd.config.workers import WorkersConfig
from search_spaces.design.stems import Stem
from search_spaces.design.widths import Tilt

__all__ = [
    "AugmentationConfig",
    "DataConfig",
    "DistillationConfig",
    "OptimizerConfig",
    "PanelConfig",
    "ReferencesConfig",
    "RetrainingConfig",
    "SearchConfig",
    "SpaceConfig",
    "StopConfig",
    "TeacherConfig",
    "TrainingConfig",
    "WorkersConfig",
]

LONGEST_NAME = 100  # characters of a search's name
RESUMABLE_CHANGES = {"trials", "seconds", "workers", "references", "final", "stop", "tracking"}  # by `resume`


def _short(name: str, info: ValidationInfo) -> str:
    """Check the length of a name, which is also that of a folder. Earlier versions recorded longer names."""
    if len(name) > LONGEST_NAME and not is_recorded(info):
        raise ValueError(f"must have at most {LONGEST_NAME} characters, but has {len(name)}")
    return name


Schedule = Literal["cosine", "stable"]
DEFAULT_SPACES = ("nago", "blocks", "like-teacher")
OptimizerName = Literal["sgd", "muon", "adamw"]
ReferenceName = Literal["resnet", "mobilenetv2", "like-teacher", "no-teacher"]


class SpaceConfig(Section):
    """The search space: the architectures among which the student is chosen.

    Attributes:
        name: Name of a search space, or "module:Class" of your own.
        names: Several spaces among which the search chooses; replaces `name`. A space that has no student within the
            budget is left out, and so is `like-teacher` where the teacher cannot be copied. If neither is given, the
            search chooses among random graphs, known blocks and slim copies of the teacher: "nago", "blocks" and
            "like-teacher".
        ranges: Narrower ranges for dimensions of the space, or single values that fix them. Options of the space, such
            as `width = 16` or `cells = 2`, are set here, too. If there are several spaces, the name of the space comes
            first: "blocks.head_ratio".
        tilt: How widths depart from the proportions of a family so that several limits of the budget are used, by at
            most a factor of two for each halving of the resolution: "full", as far as that uses more of them;
            "balanced", only where two limits can be used up; or "none".
        stem: How networks of `blocks` divide the resolution of inputs of more than 39 pixels by 4 first: "strided", by
            one convolution, whose output is small; "narrow", by one of half as many channels as the first stage;
            "pooled", by a convolution and a max pooling, as in a published ResNet; or "auto", by one convolution where
            that lets a network do more within the budget.
    """

    name: str | None = None
    names: DistinctNames | None = None
    ranges: Ranges = Field(default={})
    tilt: Tilt = "full"
    stem: Stem = "auto"

    @model_validator(mode="before")
    @classmethod
    def _one_form(cls, values: Any) -> Any:
        """A single space is recorded by `name`, however it is given, and the default by `names`."""
        if not isinstance(values, dict) or values.get("name") is not None:
            return values
        names = values.get("names")
        if names is None:
            return values | {"names": list(DEFAULT_SPACES)}
        is_single = isinstance(names, list | tuple) and len(names) == 1
        return values | {"name": names[0], "names": None} if is_single else values

    @model_validator(mode="after")
    def _one_or_several(self) -> "SpaceConfig":
        if self.name is not None and self.names is not None:
            raise ValueError("name and names exclude each other")
        return self

    @property
    def listed(self) -> tuple[str, ...]:
        """Names of the search spaces: one, or those among which the search chooses."""
        return self.names or (str(self.name),)


class AugmentationConfig(Section):
    """Augmentation of training images. It is not available for signals and vectors: omit the section for them.

    Attributes:
        shift: Largest shift of an image in each direction, in pixels; the border is filled with zeros.
        flip: Whether half of the views are flipped left to right.
        cutout: Side, in pixels, of a square that is set to zero at a random position; 0 for none.
        mixup: Parameter `alpha` of the Beta distribution from which Mixup draws its weights; 0 for no Mixup.
        cutmix: The same for CutMix. If both are on, each applies to half of the samples.
    """

    shift: Shift = 0
    flip: bool = False
    cutout: Shift = 0
    mixup: NonNegative = 0.0
    cutmix: NonNegative = 0.0


LEARNING_RATES: Mapping[OptimizerName, float] = {"muon": 0.05, "sgd": 0.1, "adamw": 0.002}
"""Usual peak of the learning rate with each optimizer."""


def _usual_learning_rate(validated: dict[str, Any]) -> float:
    """The optimizer's; any for one that does not exist, about which there is an error of its own."""
    return LEARNING_RATES[validated.get("optimizer", "muon")]


class TrainingConfig(Section):
    """How students are trained during the search.

    Attributes:
        rungs: Epochs after which trials are compared, in increasing order. The last rung is the full training of a
            trial.
        batch_size: Number of samples per step.
        schedule: "cosine": the learning rate falls along half a cosine over the whole training, and the lower rungs are
            measured on the way. "stable": the learning rate is constant, and each rung is measured at the end of a
            cooldown of its own; a trial that continues does so from before the cooldown.
        cooldown: Share of the steps up to a rung that form its cooldown; with "stable" only.
        warmup: Share of the training for the warm-up; with "stable", share of the first rung.
        optimizer: "muon": stochastic gradient descent with Nesterov momentum in which the steps of kernels before batch
            norm are made orthogonal, so that students learn more in as many epochs; "sgd", the same without that; or
            "adamw".
        learning_rate: Peak of the learning rate; by default 0.05 with "muon", 0.1 with "sgd", 0.002 with "adamw".
        weight_decay: L2 penalty on the weights with "sgd"; decoupled weight decay with "adamw" and for the kernels of
            "muon", which need a larger value.
        width_scaling: Whether to scale the learning rate of each layer by its width, relative to 64 inputs.
        gradient_clip: Largest norm of the gradient of a step; larger gradients are scaled down. No limit by default.
        ema: Decay of an exponential moving average of the weights, which then replaces them in evaluations and in the
            student. None by default.
        views: Number of distinct augmented views of each sample. The teacher runs once for each of them.
        precision: "float32", "bfloat16", or "auto": bfloat16 if it makes training faster on the device.
        warm_start: Weight `w`, in `[0, 1]`, of the tensors of an earlier student in the initial weights of a new one: a
            tensor with the same name and shape in both starts from `w * earlier + (1 - w) * fresh`. Later trials then
            have a head start over earlier ones. With 0 or false nothing is inherited, and by full-length trainings
            never. Weights that `from_teacher` gives count as fresh.
        from_teacher: Whether slim copies of the teacher begin with what fits of its weights: its most important
            channels, fitted layer by layer. It takes a teacher that workers can load, on the samples that students get.
        augmentation: Augmentation of training images.
    """

    rungs: Annotated[tuple[Epochs, ...], Field(min_length=1)] = (1.0, 3.0)
    batch_size: Number = 128
    schedule: Schedule = "stable"
    cooldown: PositiveFraction = 0.3
    warmup: Fraction = 0.1
    optimizer: OptimizerName = "muon"
    learning_rate: Positive = Field(default_factory=_usual_learning_rate)
    weight_decay: NonNegative = 5e-4
    width_scaling: bool = False
    gradient_clip: Positive | None = None
    ema: Fraction | None = None
    views: Views = 4
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    warm_start: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0
    from_teacher: bool = True
    augmentation: AugmentationConfig = AugmentationConfig()

    @field_validator("rungs")
    @classmethod
    def _increasing(cls, rungs: tuple[float, ...]) -> tuple[float, ...]:
        if list(rungs) != sorted(set(rungs)):
            raise ValueError(f"rungs must increase, but are {list(rungs)}")
        return rungs

    @property
    def decisive(self) -> dict[str, Any]:
        """Plain values of the keys that determine a training, for its digest; new keys do not change old digests.

        Those that only affect students that inherit weights are not among them.
        """
        inheriting = {"warm_start", "from_teacher"}
        return without_later_keys(self.model_dump(mode="json", exclude=inheriting), "training")


class OptimizerConfig(Section):
    """The optimiser that proposes trials, and the pruner that decides which of them continue.

    Attributes:
        name: "trust-region", "random", "tpe", "gp", or "module:Class" of an Optuna sampler.
        pruner: "halving", "median", "none", or "module:Class" of an Optuna pruner.
        signal: Metric by which the pruner compares trials below the last rung, averaged over the students of a trial:
            "accuracy" or "loss" on the validation split; "agreement" with the teacher, or divergence from it,
            "teacher_kl", on the validation split; "training_cross_entropy" with the labels, which is comparable only
            between trials of one method; or "training_loss", which is only if its settings are fixed, too. The default
            is "accuracy" where the search chooses among methods. The objective is the validation accuracy in any case.
        keeps_start_points: Whether the first trials of a search of several spaces, well-known networks, climb to the
            last rung whatever the pruner finds: at the first one, deep ones may be behind those that they overtake.
        proposes_early: Whether "trust-region" trusts its model sooner in a search of at most 15 trials: once five have
            ended, and not after as many as there are dimensions and two, at most twelve. `options.n_startup_trials`
            says it for any search.
        options: Keyword arguments for the sampler.
        objectives: What to trade off: "accuracy", which is the default and comes first, then costs that are to be
            small: "params", "macs", "activation_bytes" or "memory_bytes". Each of these needs a limit in `[budget]`.
            The search then has one more dimension, `budget_share` from 0.1 to 1: the share of these limits within which
            the widths of a trial's students are solved; the other limits stay as they are. The pruner must be "halving"
            or "none".
        learn_from: Earlier searches from which the optimiser learns: a list of their names in this database, and of
            `.json` files that `autokd families NAME -o json` printed; or "all" for the newest 20 that have finished and
            have the same objectives. What is learnt from is recorded when the search begins. "none" by default.
    """

    name: str = "trust-region"
    pruner: str = "halving"
    signal: str = "training_cross_entropy"
    keeps_start_points: bool = True
    proposes_early: bool = True
    options: dict[str, OneValue] = Field(default={})
    objectives: Objectives | None = None
    learn_from: LearnFrom = None

    @field_validator("objectives")
    @classmethod
    def _several(cls, objectives: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """The accuracy alone is recorded as no objectives, as before there were others."""
        return objectives if objectives and len(objectives) > 1 else None

    @property
    def costs(self) -> tuple[Against, ...]:
        """The objectives after the accuracy."""
        return tuple(name for name in self.objectives or () if name != "accuracy")

    @field_validator("signal")
    @classmethod
    def _is_known(cls, signal: str) -> str:
        if signal not in FIDELITY_METRICS:
            raise ValueError(f"must be one of {', '.join(FIDELITY_METRICS)}, but got {signal!r}")
        return signal


class RetrainingConfig(Section):
    """The full-length training of the winners.

    Attributes:
        epochs: Length of the training, in epochs; with `seconds` the greatest length.
        seconds: Time in which all full-length trainings together end, in seconds. Their length in epochs, at least 1,
            follows from the speed at which the search trained. No limit by default.
        families: Number of best families whose students are trained. The best student of all of them is kept.
        students: Number of architectures to draw from each of these families.
        keep: Weights to keep: "best" for those of the epoch with the highest validation accuracy in the second half of
            the training, or "last" for those of the last epoch.
        schedule: "cosine" or "stable"; the schedule of the search by default.
        learning_rate: Peak of the learning rate; that of the search by default.
        ema: Decay of the moving average of the weights, 0 for none; that of the search by default.
        views: Number of distinct augmented views of each sample; that of the search by default.
    """

    epochs: Epochs = 30
    seconds: Seconds | None = None
    families: Number = 2
    students: Number = 1
    keep: Literal["best", "last"] = "best"
    schedule: Schedule | None = None
    learning_rate: Positive | None = None
    ema: Fraction | None = None
    views: Views | None = None


def _names_or_none(value: Any) -> Any:
    """The names, no names for "none"."""
    return () if value == "none" else value


def _some_of_names(value: Any, info: ValidationInfo) -> Any:
    """Check which references are trained at full length; see `_one`."""
    if isinstance(value, list | tuple):
        allowed = info.data.get("names") or get_args(ReferenceName)  # without references, a list has no effect
        if wrong := [name for name in value if name not in allowed]:
            raise ValueError(f"must be a list of names among {', '.join(allowed)}, but got {wrong[0]!r}")
        return distinct(tuple(value))
    if value != "all" and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ValueError(f'must be a number from 0, "all" or a list of names, but got {value!r}')
    check_number(value)
    return value


class ReferencesConfig(Section):
    """References: students that one would try without a search, trained under the conditions of the search.

    Attributes:
        names: References to train, in this order, or "none". "resnet" and "mobilenetv2" are networks of the space
            `blocks`, and "like-teacher" has the graph and the proportions of the teacher, if that can be copied; they
            are as wide as the budget allows, and distilled by "kd" with its default settings. "no-teacher" is the best
            student, trained without the teacher once all trials have ended.
        final: References that are also trained at full length: a list of some of `names`, "all", or a number: those of
            the highest validation accuracy at the last rung, "no-teacher" after all others. Which one leads after short
            trainings is partly luck, so where one is known to be strong, name it.
    """

    names: Annotated[
        tuple[ReferenceName, ...],
        AfterValidator(distinct),
        BeforeValidator(_names_or_none, json_schema_input_type=tuple[ReferenceName, ...] | Literal["none"]),
    ] = ("resnet", "mobilenetv2", "like-teacher", "no-teacher")
    final: Annotated[int | Literal["all"] | tuple[ReferenceName, ...], BeforeValidator(_some_of_names)] = 1


class StopConfig(Section):
    """When a search ends before it has run all its trials.

    Attributes:
        gain: A gain of validation accuracy at the last rung, in points, that is not worth 20 more trials. The search
            ends once these gain less with a probability of about 90 %, which is estimated after 20, 30, 40, ... ended
            trials. By default, and with 0, all trials run.
    """

    gain: Points | None = None


class SearchConfig(Section):
    """Configuration of a search.

    Attributes:
        name: Name of the search, by default that of the file; a number is appended if it is taken.
        seed: Seed of all random numbers.
        trials: Number of trials.
        seconds: Time budget in seconds: no new trial starts once the search has taken this long, the computation of the
            teacher's outputs included.
        min_trials: Number of trials that must fit into `seconds`. Where the measured speed is too low for them, all
            rungs are shortened by one factor, at most to a quarter. The rungs stay as they are by default.
        students_per_trial: Number of architectures drawn from the family of a trial. The value of the trial is the mean
            over them.
    """

    name: Annotated[str, Field(pattern=NAME), AfterValidator(_short)]
    seed: Seed = 0
    trials: Number = 60
    seconds: Seconds | None = None
    min_trials: Number | None = None
    students_per_trial: Number = 1
    data: DataConfig
    teacher: TeacherConfig
    budget: BudgetSection
    space: SpaceConfig = SpaceConfig()
    distillation: DistillationConfig = DistillationConfig()
    panel: PanelConfig | None = None
    training: TrainingConfig = TrainingConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    workers: WorkersConfig = WorkersConfig()
    references: ReferencesConfig = ReferencesConfig()
    final: RetrainingConfig = RetrainingConfig()
    stop: StopConfig = StopConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="before")
    @classmethod
    def _comparable(cls, values: Any) -> Any:
        """A good student of softened logits has a large cross-entropy, so methods are not compared by it."""
        if not isinstance(values, dict):
            return values
        distillation, optimizer = (values.get(section, {}) for section in ("distillation", "optimizer"))
        if not (isinstance(distillation, dict) and isinstance(optimizer, dict)):
            return values
        methods = distillation.get("methods")
        several = isinstance(methods, list | tuple) and len(methods) > 1
        return values | {"optimizer": {"signal": "accuracy"} | optimizer} if several else values

    @field_validator("min_trials")
    @classmethod
    def _have_a_time(cls, min_trials: int | None, info: ValidationInfo) -> int | None:
        if min_trials is not None and info.data.get("seconds", 0.0) is None:
            raise ValueError(f"needs seconds, into which {min_trials} trials are to fit")
        return min_trials

    @field_validator("optimizer")
    @classmethod
    def _costs_have_limits(cls, optimizer: OptimizerConfig, info: ValidationInfo) -> OptimizerConfig:
        budget = info.data.get("budget")
        limited = budget.to_dict().keys() | budget.of_teacher.keys() if budget else optimizer.costs
        if without := [name for name in optimizer.costs if name not in limited]:
            raise ValueError(
                f"objectives: {without[0]!r} needs a limit, budget.{without[0]} or budget.of_teacher.{without[0]}"
            )
        return optimizer

    @field_validator("stop")
    @classmethod
    def _gains_accuracy_alone(cls, stop: StopConfig, info: ValidationInfo) -> StopConfig:
        optimizer = info.data.get("optimizer")
        if stop.gain and optimizer and optimizer.costs:
            raise ValueError(f"gain: needs the accuracy as the only objective, but got {list(optimizer.objectives)}")
        return stop

    @property
    def networks(self) -> tuple[TeacherConfig, ...]:
        """The teacher, then the assistants that are given."""
        assistants = self.panel.assistants if self.panel else ()
        return (self.teacher, *(each.teacher for each in assistants if not each.is_trained))

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON and TOML can represent; `parse_config` reads them back."""
        return self.model_dump(mode="json", exclude_none=True)

    @property
    def digest(self) -> str:
        """Short digest of everything that must not change when a search is resumed."""
        fixed = {key: value for key, value in self.to_dict().items() if key not in RESUMABLE_CHANGES | {"name"}}
        return hashlib.sha256(json.dumps(as_digested(fixed), sort_keys=True).encode()).hexdigest()[:16]
