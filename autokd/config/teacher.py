"""The section `[teacher]`, and the teachers and teacher schedules that it describes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from autokd.config.distinct import distinct
from autokd.config.numbers import (
    Finite,
    Index,
    Number,
    Positive,
    PositiveFraction,
    Probability,
    Room,
    Side,
    check_number,
)
from autokd.config.section import Section

__all__ = ["PRUNED", "NetworkConfig", "PruningConfig", "TeacherConfig", "pruning_rounds"]

SOURCES = ("factory", "architecture", "onnx", "outputs")
CHECKPOINTS = "checkpoints"  # name of the schedule that follows the teacher's own training
PRUNED = 0.2  # share of the remaining weights that a round prunes, as in Park and No 2022
MOST_ROUNDS = 30  # after which 0.1 % of the weights remain


def _index_or_name(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"must be an index or a name, but got {value!r}")
    check_number(value)
    return value


def _height_and_width(value: Any) -> Any:
    sizes = [value, value] if isinstance(value, int) else value
    if not isinstance(sizes, list | tuple) or len(sizes) != 2:
        raise ValueError(f"must be a number of pixels, or height and width, but got {value!r}")
    return sizes


def _for_channels(value: Any) -> Any:
    return (value,) if isinstance(value, int | float) else value


def _plain_arguments(values: Any) -> Any:
    """Check keyword arguments, whose messages are then one line each; pydantic's have one for each type of a union."""
    for name, value in values.items() if isinstance(values, dict) else ():
        if not name.isidentifier():
            raise ValueError(f"must be named as arguments of a function are, but got {name!r}")
        for each in value if isinstance(value, list) else [value]:
            if not isinstance(each, bool | int | float | str):
                raise ValueError(f"{name} must be one value or a list of values, but got {value!r}")
            check_number(each)
    return values


def pruning_rounds(share: float) -> int:
    """Number of rounds, each of which prunes a fifth of the remaining weights, after which nearly `share` is pruned."""
    return min(range(1, MOST_ROUNDS + 1), key=lambda rounds: abs(share - (1 - (1 - PRUNED) ** rounds)))


class PruningConfig(Section):
    """Pruned copies of the teacher (Park and No 2022), made by the workers before the search.

    Attributes:
        shares: Shares of the weights of all convolutions and linear layers that are pruned, each for one more teacher
            among which the search chooses, named `pruned-36` for 0.36. A round prunes the smallest fifth of the
            remaining weights; the number of rounds comes as near to the share as possible: 0.36 is two rounds, 0.59
            four, 0.79 seven.
        epochs: Length of the training after each round: the whole schedule, with the settings of `[training]` and the
            labels alone.
    """

    shares: Annotated[tuple[PositiveFraction, ...], Field(min_length=1)]
    epochs: Number = 8

    @property
    def rounds(self) -> dict[str, int]:
        """Number of rounds of each pruned teacher, by its name."""
        return {f"pruned-{100 * share:g}": pruning_rounds(share) for share in self.shares}

    @field_validator("shares")
    @classmethod
    def _distinct(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        first: dict[int, float] = {}
        for share in shares:
            rounds = pruning_rounds(share)
            if rounds in first:
                raise ValueError(
                    f"each share is one teacher, but {first[rounds]:g} and {share:g} are both nearest to {rounds} "
                    "rounds that prune a fifth of the weights each"
                )
            first[rounds] = share
        return shares


class NetworkConfig(Section):
    """A trained network that returns logits or probabilities for the classes of the task.

    Attributes:
        factory: "module:function". The function returns the teacher: a module, or any callable from a float batch
            (normalised, `batch x channels x height x width`) to logits. Or a model of a collection: "timm:NAME",
            "torchvision:NAME", which need `weights`; "timm:FOLDER", "transformers:FOLDER", or "user/name" on the
            Hugging Face hub in place of FOLDER. Their own configuration then gives `resize`, `mean`, `deviation` and
            `output`, as far as these are not set.
        arguments: Keyword arguments with which the factory is called.
        architecture: File of an architecture in AutoKD's own format, in place of a factory: the `architecture.json` of
            an exported student, whose `weights.safetensors` are its `weights`. So a student can teach.
        weights: File with weights for the module of the factory or architecture: `.safetensors`, or a checkpoint of
            tensors and plain values (`.pth`, `.pt`, `.th`, `.ckpt`, `.bin`) with exactly one entry that fits the
            module. A file in an installed package is written "package:file", here and for `architecture`, `onnx` and
            `outputs`; "hf:user/name" is the `model.safetensors` of a repository on the hub,
            "hf:user/name/FILE.safetensors" another one.
        download: Whether what is named on the hub may be fetched. By default it must be in this machine's cache. A
            revision follows the name: "user/name@revision".
        onnx: File of a network with one input, `.onnx`. It is run by onnxruntime on the CPU.
        outputs: Stored outputs in place of a network, for the samples of each split in the order of the data set: an
            `.npz` archive of arrays `train`, `validation` and, if there is a test split, `test`, each
            `samples x outputs`; or a folder with `train.npy` and so on. All augmented views of a sample have the same
            outputs. Mixed samples have none.
        output: The output that holds the logits, if the network returns several: index in a tuple or list, key in a
            dict, or name of an attribute or of an output of an ONNX file.
        resize: Height and width, in pixels, to which images are resized for the teacher, or one number for both. The
            interpolation is bilinear and antialiased.
        preprocess: "module:function" that turns float images in `[0, 1]` (`batch x channels x height x width`; raw
            values for signals and vectors in float32) into the input of the network. `resize` comes first.
        mean: Mean of each channel, or one number for all, for values in `[0, 1]` or raw ones as in `preprocess`. The
            network gets `(values - mean) / deviation`.
        deviation: Standard deviation of each channel, or one number for all; required with `mean`.
        channels: Indices of the channels (of vectors: features) that the network gets, before `resize`; all by default.
            `[0, 0, 0]` makes colour images of grey ones.
        classes: Indices of the outputs for the classes of the task, in the order of the classes; all outputs by
            default.
        probabilities: Whether the outputs are probabilities; their logarithms are then the logits. If the key is
            omitted, outputs that look like probabilities are an error.
    """

    factory: str | None = None
    arguments: Annotated[dict[str, Any], BeforeValidator(_plain_arguments)] | None = None
    architecture: str | None = None
    weights: str | None = None
    download: bool | None = None
    onnx: str | None = None
    outputs: str | None = None
    output: Annotated[int | str, BeforeValidator(_index_or_name)] | None = None
    resize: (
        Annotated[
            tuple[Side, Side],
            BeforeValidator(_height_and_width, json_schema_input_type=Side | tuple[Side, Side]),
        ]
        | None
    ) = None
    preprocess: str | None = None
    mean: (
        Annotated[
            tuple[Finite, ...],
            Field(min_length=1),
            BeforeValidator(_for_channels, json_schema_input_type=Finite | tuple[Finite, ...]),
        ]
        | None
    ) = None
    deviation: (
        Annotated[
            tuple[Positive, ...],
            BeforeValidator(_for_channels, json_schema_input_type=Positive | tuple[Positive, ...]),
        ]
        | None
    ) = None
    channels: Annotated[tuple[Index, ...], Field(min_length=1)] | None = None
    classes: Annotated[tuple[Index, ...], Field(min_length=2), AfterValidator(distinct)] | None = None
    probabilities: bool | None = None

    @property
    def source(self) -> str | None:
        """The value of `factory`, `architecture`, `onnx` or `outputs`; None if the network is given as an object."""
        return self.factory or self.architecture or self.onnx or self.outputs

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = self.model_dump(exclude_none=True)
        sources = [name for name in SOURCES if name in given]
        if len(sources) > 1:
            raise ValueError(f"only one of {_listed(SOURCES)} may be set, but got {' and '.join(sources)}")
        if "arguments" in given and "factory" not in given:
            raise ValueError("arguments are for a factory, but there is none")
        if "weights" in given and not given.keys() & {"factory", "architecture"}:
            raise ValueError("weights are for the module of a factory or an architecture, but there is neither")
        if "architecture" in given and "weights" not in given:
            raise ValueError("an architecture needs weights beside it")
        if "preprocess" in given and given.keys() & {"mean", "deviation"}:
            raise ValueError("preprocess does what mean and deviation do: set it, or those two")
        n_means, n_deviations = len(self.mean or ()), len(self.deviation or ())
        if (n_means == 0) != (n_deviations == 0) or len({n_means, n_deviations} - {1}) > 1:
            raise ValueError(f"mean and deviation go together, but got {n_means} and {n_deviations} values")
        unused = [name for name in ("output", "channels", "resize", "preprocess", "mean", "deviation") if name in given]
        if "outputs" in given and unused:
            raise ValueError(f"{unused[0]} is for a network, but outputs are no network")
        return self


class TeacherConfig(NetworkConfig):
    """The teacher: anything that returns logits or probabilities for the classes of the task.

    It is given by one of `factory`, `architecture`, `onnx` and `outputs`, or in Python as an object. It gets the same
    augmented views as the student, with the same normalisation: by mean and standard deviation of the training samples.
    With `preprocess`, or `mean` and `deviation`, this normalisation is undone first.

    Attributes:
        alternatives: Further files of weights for the same module, for example from shorter trainings, which can
            teach better. The search chooses among all of them by the accuracy of the students.
        checkpoints: Files of weights from the training of the teacher, evenly spaced, the last one from its end. They
            are one more choice for the search: in each epoch, the student then learns from the checkpoint that had done
            the same share of its training.
        layers: Names of the modules whose outputs are the features, for methods that need features; by default the last
            module of each resolution.
        floor: Smallest validation accuracy, in `[0, 1]`, that the teacher must have for the search to start. By default
            it must be clearly better than guessing.
        disk_bytes: Largest size of all stored outputs of the teachers for training samples, in bytes; the full-length
            trainings have as much again. What does not fit is not stored, feature maps first, then embeddings, then
            logits, but computed in every training that needs it. Results differ only by the rounding to float16.
        pruning: Pruned copies of the teacher, which are further teachers for the search to choose from.
    """

    alternatives: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    layers: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    floor: Probability | None = None
    disk_bytes: Room = 4_000_000_000
    pruning: PruningConfig | None = None

    @property
    def files(self) -> tuple[str | None, ...]:
        """Files of weights of all teachers; the index of a file is the number of its teacher."""
        return (self.weights, *self.alternatives, *self.checkpoints)

    @property
    def teacher_schedules(self) -> dict[str, tuple[int, ...]]:
        """Numbers of the teachers that teach one after another, for each choice that the search has, by its name."""
        single = {_file_name(file): (number,) for number, file in enumerate((self.weights, *self.alternatives))}
        n_single = len(single)
        following = tuple(range(n_single, n_single + len(self.checkpoints)))
        pruned = {name: (number,) for number, name in enumerate(self.pruned, len(self.files))}
        return single | ({CHECKPOINTS: following} if following else {}) | pruned

    @property
    def pruned(self) -> dict[str, int]:
        """Rounds of pruning of each pruned teacher by its name; their numbers follow those of `files`."""
        return {} if self.pruning is None else self.pruning.rounds

    def numbered(self, number: int) -> "TeacherConfig":
        """Configuration with only the teacher of that number, which has a file."""
        return self.with_weights(self.files[number])

    def with_weights(self, file: str | None) -> "TeacherConfig":
        """Configuration with only a teacher of these weights."""
        return self.model_copy(update={"weights": file, "alternatives": (), "checkpoints": (), "pruning": None})

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if len(self.teacher_schedules) < 1 + len(self.alternatives) + bool(self.checkpoints) + len(self.pruned):
            raise ValueError("weights and alternatives must be files of different names")
        if self.pruning is not None and not self.factory:
            raise ValueError("pruning is for the module of a factory, but there is no factory")
        if (self.alternatives or self.checkpoints) and not self.weights:
            raise ValueError("alternatives and checkpoints need weights beside them")
        return self


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _file_name(file: str | None) -> str:
    return Path((file or "").rpartition(":")[2]).name
