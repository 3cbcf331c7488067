"""The schema of `search.toml`: every section and key, with bounds and defaults."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from autokd.config.budget import BudgetSection
from autokd.config.compatibility import is_recorded, without_later_keys
from autokd.config.fidelity_metrics import FIDELITY_METRICS
from autokd.config.flat import flat
from autokd.config.numbers import (
    Bytes,
    Epochs,
    Fraction,
    NonNegative,
    Number,
    Positive,
    PositiveFraction,
    Samples,
    Seconds,
    Seed,
    Shift,
    Side,
    Threads,
    Views,
    check_number,
)
from autokd.config.teacher import TeacherConfig

__all__ = [
    "AugmentationConfig",
    "DataConfig",
    "DistillationConfig",
    "OptimizerConfig",
    "RetrainingConfig",
    "SearchConfig",
    "SpaceConfig",
    "TeacherConfig",
    "TrainingConfig",
    "WorkersConfig",
]

NAMED_SOURCES = ("fashion-mnist", "digits")
LONGEST_NAME = 100  # characters of a search's name
RESUMABLE_CHANGES = {"trials", "seconds", "workers", "final"}  # sections and keys that `resume` may change


def _one(value: Any) -> Any:
    """The value itself; pydantic's own complaint would be one for each kind that it could have been."""
    if not isinstance(value, bool | int | float | str):
        raise ValueError(f"must be one value, but got {value!r}")
    check_number(value)
    return value


def _one_or_several(value: Any) -> Any:
    """The value or the list itself, as `_one`."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, bool | int | float | str) for each in values):
        raise ValueError(f"must be one value or a list of values, but got {value!r}")
    for each in values:
        check_number(each)
    return value


def _flattened(ranges: Any) -> Any:
    """Tables within tables as one: `dkd = {beta = [1, 8]}` says the same as `"dkd.beta" = [1, 8]`."""
    return dict(flat(ranges)) if isinstance(ranges, dict) else ranges


def _some_text(text: str, info: ValidationInfo) -> str:
    """The text, if there is any; earlier versions took none for the default."""
    if not text and not is_recorded(info):
        raise ValueError("must be a name, but is empty: omit the key for the default")
    return text


def _short(name: str, info: ValidationInfo) -> str:
    """The name, which is that of a folder, too; earlier versions took longer ones."""
    if len(name) > LONGEST_NAME and not is_recorded(info):
        raise ValueError(f"must have at most {LONGEST_NAME} characters, but has {len(name)}")
    return name


Value = bool | int | float | str
Range = Annotated[Value | list[Value], BeforeValidator(_one_or_several)]
Ranges = dict[str, Range]  # one value fixes a dimension, two numbers bound it, several names choose
Schedule = Literal["cosine", "stable"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(_Section):
    """Where the labelled samples are: images, signals or vectors.

    Attributes:
        source: "fashion-mnist", "digits", a `.npz` file of arrays, a folder of images, or "module:function".
        folder: Folder with the files of "fashion-mnist", where they are not in the usual place.
        validation: Training samples held out for the search, where the source does not bring its own validation split.
        subset: Train on this many random samples only.
        image_size: Height and width in pixels to which images of a folder or a map-style data set are resized.
        memory_bytes: Images of a folder or a map-style data set that are larger than this when decoded are not held in
            memory: they are decoded once into files, which all workers map; 4 GB by default.
        cache: Folder of these files, by default one in the user's cache.
    """

    source: str
    folder: Path | None = None
    validation: Samples | None = None
    subset: Samples | None = None
    image_size: Side | None = None
    memory_bytes: Bytes | None = None
    cache: Path | None = None


class SpaceConfig(_Section):
    """What a student can be.

    Attributes:
        name: A search space by name, or "module:Class" of your own.
        ranges: Narrower ranges for the space's dimensions, or values that fix them; also options of the space, such as
            `width = 16` or `cells = 2`.
    """

    name: str = "nago"
    ranges: Ranges = {}


class DistillationConfig(_Section):
    """How students learn from the teacher.

    Attributes:
        method: A distillation method by name, "module:Class" of your own, or several composed as in "ctkd+kd"; "kd" by
            default.
        methods: In place of `method`, several among which the search chooses.
        ranges: Narrower ranges for the method's dimensions, or values that fix them: "temperature", of a composed
            method "kd.temperature"; where the search chooses the method, its name comes first: "dkd.beta".
    """

    method: Annotated[str, AfterValidator(_some_text)] | None = None
    methods: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    ranges: Annotated[Ranges, BeforeValidator(_flattened, json_schema_input_type=dict[str, Any])] = {}

    @model_validator(mode="after")
    def _one_choice(self) -> "DistillationConfig":
        if self.method is not None and self.methods is not None:
            raise ValueError("method and methods exclude each other")
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"methods must be different, but are {list(self.names)}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The method or methods."""
        return self.methods or (self.method or "kd",)


class AugmentationConfig(_Section):
    """What is done to training images. Signals and vectors allow no augmentation: omit the section for them.

    Attributes:
        shift: Pixels by which an image moves at most in each direction; zeros come in.
        flip: Whether half of the views are mirrored left to right.
        cutout: Side in pixels of a square that is set to zero; 0 for none.
        mixup: `alpha` of the Beta distribution of Mixup's weights; 0 for none.
        cutmix: The same for CutMix; where both are on, each gets half of the samples.
    """

    shift: Shift = 0
    flip: bool = False
    cutout: Shift = 0
    mixup: NonNegative = 0.0
    cutmix: NonNegative = 0.0


class TrainingConfig(_Section):
    """How long and how students are trained.

    Attributes:
        rungs: Epochs at which a trial is judged, increasing; the last is a trial's whole training.
        batch_size: Samples of a step.
        schedule: "cosine": one half cosine over the whole training, in the middle of which lower rungs are measured; or
            "stable": a constant rate, and for each rung a cooldown of its own, at whose end it is measured and after
            which the next rung goes on from before the cooldown.
        cooldown: Part of the steps to a rung that cools down, under "stable".
        warmup: Part of the training that warms up; under "stable" the part of the first rung.
        optimizer: "sgd" with Nesterov momentum, or "adamw", which needs a far lower learning rate, such as 0.002.
        learning_rate: Peak of the schedule.
        weight_decay: L2 penalty on weights under "sgd"; decoupled under "adamw", which needs a higher one.
        width_scaling: Whether learning rates follow the layers' widths by a rule, relative to 64 inputs.
        gradient_clip: Largest norm of a step's gradients; longer ones are shortened to it.
        ema: Decay of a moving average of the weights, which then are those that are measured and kept.
        views: Number of distinct augmented views of each sample; the teacher runs once for each.
        precision: "float32", "bfloat16", or "auto": bfloat16 where training is faster in it.
        warm_start: Share of an earlier student's weights with which a student of the search begins, where one has
            tensors of the same names and shapes; the rest are fresh weights. Later trials then begin ahead of earlier
            ones. 0 or false begins afresh; full-length trainings always do.
        augmentation: What is done to training images.
    """

    rungs: Annotated[tuple[Epochs, ...], Field(min_length=1)] = (1.0, 3.0)
    batch_size: Number = 128
    schedule: Schedule = "stable"
    cooldown: PositiveFraction = 0.3
    warmup: Fraction = 0.1
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Positive = 0.1
    weight_decay: NonNegative = 5e-4
    width_scaling: bool = False
    gradient_clip: Positive | None = None
    ema: Fraction | None = None
    views: Views = 4
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    warm_start: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0
    augmentation: AugmentationConfig = AugmentationConfig()

    @field_validator("rungs")
    @classmethod
    def _increasing(cls, rungs: tuple[float, ...]) -> tuple[float, ...]:
        if list(rungs) != sorted(set(rungs)):
            raise ValueError(f"rungs must increase, but are {list(rungs)}")
        return rungs

    @property
    def decisive(self) -> dict[str, Any]:
        """Plain values of what decides a training, for its digest, which outlives the addition of keys.

        The share of inherited weights is not among them: it decides trainings that inherit only.
        """
        return without_later_keys(self.model_dump(mode="json", exclude={"warm_start"}), "training")


class OptimizerConfig(_Section):
    """What proposes trials and which of them climb.

    Attributes:
        name: "trust-region", "random", "tpe", "gp", or "module:Class" of an Optuna sampler.
        pruner: "halving", "median", "none", or "module:Class" of an Optuna pruner.
        signal: By what the pruner compares trials below the last rung: the mean over a trial's students of their
            validation "accuracy" or "loss", of their "agreement" with the teacher or their divergence from it,
            "teacher_kl", or of their "training_cross_entropy" with the labels or their "training_loss", which is
            comparable only where method and settings are fixed.
            What the search maximises is the accuracy, whatever the signal.
        options: Keyword arguments of the sampler.
    """

    name: str = "trust-region"
    pruner: str = "halving"
    signal: str = "training_cross_entropy"
    options: dict[str, Annotated[Value, BeforeValidator(_one)]] = {}

    @field_validator("signal")
    @classmethod
    def _is_known(cls, signal: str) -> str:
        if signal not in FIDELITY_METRICS:
            raise ValueError(f"must be one of {', '.join(FIDELITY_METRICS)}, but got {signal!r}")
        return signal


class WorkersConfig(_Section):
    """Where evaluations run.

    Attributes:
        engine: "local" processes, or "inline" in the controller's own.
        count: Evaluations that run at once.
        threads: Threads of each.
        seconds: Time after which an evaluation is killed and its trial fails.
        memory_bytes: Memory above which an evaluation is killed and its trial fails.
        device: "auto" (a GPU where there is one), "cpu", "cuda", ...
    """

    engine: str = "local"
    count: Threads = 2
    threads: Threads = 1
    seconds: Seconds | None = None
    memory_bytes: Bytes | None = None
    device: str = "auto"


class RetrainingConfig(_Section):
    """The full-length training of the winner.

    Attributes:
        epochs: Length of the training.
        students: Architectures drawn from the best family; the best one is kept.
        keep: Which weights are kept: those of the "best" epoch of the second half by validation accuracy, or of the
            "last" one.
        schedule: The search's by default.
        learning_rate: Peak of the schedule; the search's by default.
        ema: Decay of the weights' moving average; the search's by default, none at 0.
        views: Distinct augmented views; the search's by default.
    """

    epochs: Epochs = 30
    students: Number = 2
    keep: Literal["best", "last"] = "best"
    schedule: Schedule | None = None
    learning_rate: Positive | None = None
    ema: Fraction | None = None
    views: Views | None = None


class SearchConfig(_Section):
    """Everything that decides a search.

    Attributes:
        name: Name of the search, by default that of the file; a number is appended if it is taken.
        seed: Seed from which everything random derives.
        trials: Number of trials.
        seconds: Time that the workers may spend, on average; no more trials are proposed after it.
        students_per_trial: Architectures drawn from each trial's family; a trial is worth their mean.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$"), AfterValidator(_short)]
    seed: Seed = 0
    trials: Number = 60
    seconds: Seconds | None = None
    students_per_trial: Number = 1
    data: DataConfig
    teacher: TeacherConfig
    budget: BudgetSection
    space: SpaceConfig = SpaceConfig()
    distillation: DistillationConfig = DistillationConfig()
    training: TrainingConfig = TrainingConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    workers: WorkersConfig = WorkersConfig()
    final: RetrainingConfig = RetrainingConfig()

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON and TOML take; `parse_config` reads them back."""
        return self.model_dump(mode="json", exclude_none=True)

    @property
    def digest(self) -> str:
        """Short digest of what may not change while a search goes on."""
        fixed = {key: value for key, value in self.to_dict().items() if key not in RESUMABLE_CHANGES | {"name"}}
        return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:16]
