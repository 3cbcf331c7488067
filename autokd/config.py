"""The configuration of a search: what a `search.toml` may say, checked, with defaults."""

import hashlib
import json
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from autokd.errors import InputError
from autokd.keys import with_keys_as_before, without_keys_as_before
from autokd.names import nearest
from autokd.signals import SIGNALS
from autokd.teachers.settings import TeacherConfig

__all__ = [
    "AugmentationConfig",
    "BudgetConfig",
    "DataConfig",
    "DistillationConfig",
    "FinalConfig",
    "OptimizerConfig",
    "SearchConfig",
    "SpaceConfig",
    "TeacherConfig",
    "TrainingConfig",
    "WorkersConfig",
    "differences",
    "make_paths_absolute",
    "override_config",
    "parse_config",
    "read_config",
    "recorded_config",
]

NAMED_SOURCES = ("fashion-mnist", "digits")
RESUMABLE_CHANGES = {"trials", "seconds", "workers", "final"}  # sections and keys that `resume` may change


def _one_or_several(value: Any) -> Any:
    """The value itself; pydantic's own complaint would be one for each kind that it could have been."""
    if not isinstance(value, bool | int | float | str | list):
        raise ValueError(f"must be one value or a list of values, but got {value!r}")
    return value


def _flattened(ranges: Any) -> Any:
    """Tables within tables as one: `dkd = {beta = [1, 8]}` says the same as `"dkd.beta" = [1, 8]`."""
    return dict(_flat(ranges)) if isinstance(ranges, dict) else ranges


Value = bool | int | float | str
Range = Annotated[Value | list[Value], BeforeValidator(_one_or_several)]
Ranges = dict[str, Range]  # one value fixes a dimension, two numbers bound it, several names choose
Positive = Annotated[int, Field(gt=0)]
Schedule = Literal["cosine", "stable"]
Decay = Annotated[float, Field(ge=0, lt=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(_Section):
    """Where the labelled images are.

    Attributes:
        source: "fashion-mnist", "digits", a `.npz` file, a folder of images, or "module:function".
        folder: Folder of the files of a named source, when they are not where they are looked for.
        validation: Training samples held out for the search, where the source does not bring its own validation split.
        subset: Train on this many random samples only.
        image_size: Height and width in pixels to which images of a folder or a map-style data set are resized.
        memory_bytes: Images of a folder or a map-style data set that are larger than this when decoded are not held in
            memory: they are decoded once into files, which all workers map; 4 GB when left away.
        cache: Folder of these files; one in the user's cache when left away.
    """

    source: str
    folder: Path | None = None
    validation: Positive | None = None
    subset: Positive | None = None
    image_size: Positive | None = None
    memory_bytes: Positive | None = None
    cache: Path | None = None


class SpaceConfig(_Section):
    """Which students there are.

    Attributes:
        name: A known space (see `autokd recipes` and the README), or "module:Class".
        ranges: Narrower ranges for the space's dimensions, or values that fix them; also options of the space, such as
            `width = 16` or `cells = 2`.
    """

    name: str = "nago"
    ranges: Ranges = {}


class BudgetConfig(_Section):
    """What the device allows. At least one limit must be set.

    Attributes:
        params: Parameters.
        macs: Multiply-accumulates of one sample.
        activation_bytes: Peak live activations of one sample.
        model_bytes: The model's own size.
        memory_bytes: Model and activations together.
    """

    params: Positive | None = None
    macs: Positive | None = None
    activation_bytes: Positive | None = None
    model_bytes: Positive | None = None
    memory_bytes: Positive | None = None

    @model_validator(mode="after")
    def _some_limit(self) -> "BudgetConfig":
        if not self.model_dump(exclude_none=True):
            raise ValueError(f"at least one limit must be set: {', '.join(type(self).model_fields)}")
        return self


class DistillationConfig(_Section):
    """How students learn from the teacher.

    Attributes:
        method: A known method (see the README), "module:Class", or several composed as in "ctkd+kd"; "kd" when left
            away.
        methods: In place of `method`, several among which the search chooses.
        ranges: Narrower ranges for the method's dimensions, or values that fix them: "temperature", of a composed
            method "kd.temperature"; where the search chooses the method, its name comes first: "dkd.beta".
    """

    method: str | None = None
    methods: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    ranges: Annotated[Ranges, BeforeValidator(_flattened)] = {}

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
    """What is done to training images; see `autokd.data.augmentation.Augmentation`."""

    shift: Annotated[int, Field(ge=0)] = 0
    flip: bool = False
    cutout: Annotated[int, Field(ge=0)] = 0
    mixup: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    cutmix: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


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

    rungs: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (1.0, 3.0)
    batch_size: Positive = 128
    schedule: Schedule = "stable"
    cooldown: Annotated[float, Field(gt=0, lt=1)] = 0.3
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    width_scaling: bool = False
    gradient_clip: Annotated[float, Field(gt=0)] | None = None
    ema: Decay | None = None
    views: Positive = 4
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    warm_start: Annotated[float, Field(ge=0, le=1)] = 0.0
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
        return without_keys_as_before(self.model_dump(mode="json", exclude={"warm_start"}), "training")


class OptimizerConfig(_Section):
    """What proposes trials and which of them climb.

    Attributes:
        name: "trust-region", "random", "tpe", "gp", or "module:Class" of an Optuna sampler.
        pruner: "halving", "median" or "none".
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
    options: dict[str, Value] = {}

    @field_validator("signal")
    @classmethod
    def _is_known(cls, signal: str) -> str:
        if signal not in SIGNALS:
            raise ValueError(f"must be one of {', '.join(SIGNALS)}, but got {signal!r}")
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
    count: Positive = 2
    threads: Positive = 1
    seconds: Annotated[float, Field(gt=0)] | None = None
    memory_bytes: Positive | None = None
    device: str = "auto"


class FinalConfig(_Section):
    """The full-length training of the winner.

    Attributes:
        epochs: Length.
        students: Architectures drawn from the best family; the best one is kept.
        keep: Which weights: of the "best" epoch in the second half, told by the validation split, or of the "last".
        schedule: The search's when left away.
        learning_rate: Peak of the schedule; the search's when left away.
        ema: Decay of the weights' moving average; the search's when left away, none at 0.
        views: Distinct augmented views; the search's when left away.
    """

    epochs: Annotated[float, Field(gt=0)] = 30
    students: Positive = 2
    keep: Literal["best", "last"] = "best"
    schedule: Schedule | None = None
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    ema: Decay | None = None
    views: Positive | None = None


class SearchConfig(_Section):
    """Everything that decides a search.

    Attributes:
        name: Name of the search; must be new.
        seed: Everything random derives from it.
        trials: Number of trials.
        seconds: Proposes no more trials once the workers have spent this long, on average.
        students_per_trial: Architectures drawn from each trial's family; a trial is worth their mean.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    trials: Positive = 60
    seconds: Annotated[float, Field(gt=0)] | None = None
    students_per_trial: Positive = 1
    data: DataConfig
    teacher: TeacherConfig
    budget: BudgetConfig
    space: SpaceConfig = SpaceConfig()
    distillation: DistillationConfig = DistillationConfig()
    training: TrainingConfig = TrainingConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    workers: WorkersConfig = WorkersConfig()
    final: FinalConfig = FinalConfig()

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON and TOML take; `parse_config` reads them back."""
        return self.model_dump(mode="json", exclude_none=True)

    @property
    def digest(self) -> str:
        """Short digest of what may not change while a search goes on."""
        fixed = {key: value for key, value in self.to_dict().items() if key not in RESUMABLE_CHANGES | {"name"}}
        return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:16]


def read_config(path: Path, overrides: Iterable[str] = (), name: str | None = None) -> SearchConfig:
    """The configuration in a TOML file; relative paths in it are relative to its folder.

    Args:
        path: The file.
        overrides: `key=value` with dots into sections and values as TOML writes them: "training.rungs=[1, 3]". Relative
            paths in them are relative to the current folder.
        name: Name of the search; left away, the file's own `name`, else the file's stem.

    Raises:
        InputError: If there is no such file, it is not TOML, or it says something that is not allowed.
    """
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}.") from None
    make_paths_absolute(values, path.parent.resolve())
    values.setdefault("name", path.stem)
    overrides = list(overrides) + ([f"name={name}"] if name else [])
    for override in overrides:
        _set(values, override)
    make_paths_absolute(values, Path.cwd())
    return parse_config(values, str(path), overrides)


def parse_config(values: dict[str, Any], where: str = "configuration", overrides: Iterable[str] = ()) -> SearchConfig:
    """The checked configuration of plain values.

    Args:
        values: Sections and keys.
        where: Where the values are from, for error messages.
        overrides: Those among them that are from the command line.

    Raises:
        InputError: One line for the first thing that is wrong: where, what, and the nearest known key.
    """
    try:
        return SearchConfig.model_validate(values)
    except ValidationError as error:
        key = _dotted(error)
        overridden = any(key.startswith(override.partition("=")[0].strip()) for override in overrides)
        raise InputError(f"{'command line' if overridden else where}: {_one_line(error)}.") from None


def recorded_config(values: dict[str, Any], where: str) -> SearchConfig:
    """The configuration that `SearchConfig.to_dict` recorded, maybe before some of today's keys existed.

    Raises:
        InputError: One line for the first thing that is wrong, as `parse_config`.
    """
    return parse_config(with_keys_as_before(values), where)


def override_config(config: SearchConfig, overrides: Iterable[str]) -> SearchConfig:
    """The configuration with some `key=value` changed.

    Raises:
        InputError: If a key does not exist or a value is not allowed.
    """
    values = config.to_dict()
    for override in overrides:
        _set(values, override)
    return parse_config(values, "--set")


def make_paths_absolute(values: dict[str, Any], folder: Path) -> None:
    """Change the relative paths among plain values, which are relative to `folder`, to be valid from every folder."""
    data, teacher = values.get("data"), values.get("teacher")
    if isinstance(data, dict):
        source = data.get("source")
        if isinstance(source, str) and source not in NAMED_SOURCES and _is_path(source, folder):
            data["source"] = str(folder / source)
        for key in ("folder", "cache"):
            if isinstance(files := data.get(key), str):
                data[key] = str(folder / files)
    if isinstance(teacher, dict):
        for key in ("weights", "alternatives", "checkpoints", "onnx", "outputs"):
            if isinstance(file := teacher.get(key), str):
                teacher[key] = _absolute(file, folder)
            elif isinstance(file, list):
                teacher[key] = [_absolute(each, folder) if isinstance(each, str) else each for each in file]


def differences(old: SearchConfig, new: SearchConfig) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, with the old and the new value."""
    before, after = dict(_flat(old.to_dict())), dict(_flat(new.to_dict()))
    keys = sorted(before.keys() | after.keys())
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


def _absolute(file: str, folder: Path) -> str:
    """The path of a file; one in a package, "package:file", as it is."""
    return file if ":" in file else str(folder / file)


def _is_path(source: str, folder: Path) -> bool:
    return source.endswith(".npz") or (folder / source).exists()


def _set(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise InputError(f"an override must be `key=value`, but got {override!r}.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    *sections, last = key.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise InputError(f"override {override!r}: {section!r} is a value, not a section.")
    values[last] = value


def _one_line(error: ValidationError) -> str:
    first, where = error.errors()[0], _dotted(error)
    if first["type"] == "extra_forbidden":
        return f"unknown key {where!r}{nearest(str(first['loc'][-1]), _known_keys(first['loc'][:-1]))}"
    if first["type"] == "missing":
        return f"{where!r} is missing"
    if first["type"] == "model_type":
        return f"{where}: must be a section with keys of its own, but got {first['input']!r}"
    message = first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return f"{where}: {message}" + ("" if first["type"] == "value_error" else f", but got {first['input']!r}")


def _dotted(error: ValidationError) -> str:
    """The key of the first thing that is wrong."""
    return ".".join(str(part) for part in error.errors()[0]["loc"])


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    section: Any = SearchConfig
    for part in location:
        section = section.model_fields[part].annotation
    return list(section.model_fields)


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
