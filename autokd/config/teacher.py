"""What a configuration may say of the teacher."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from autokd.config.numbers import Finite, Index, Positive, Probability, Room, Side, check_number

__all__ = ["TeacherConfig"]

CHECKPOINTS = "checkpoints"  # the choice of a teacher's own past


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


class TeacherConfig(BaseModel):
    """What to learn from: anything that gives logits or probabilities of the task's classes.

    One of `factory`, `onnx` and `outputs` says what it is; none does where the teacher is given as an object. It sees
    the same augmented view of a sample as the student. Without `preprocess`, `mean` and `deviation` it also gets it as
    the student does, normalised with the moments of the training samples; with them that is undone first.

    Attributes:
        factory: "module:function"; called without arguments it returns the teacher: a module, or any callable from a
            float batch (normalised, `batch x channels x height x width`) to logits.
        weights: File of weights for the factory's module: `.safetensors`, or a checkpoint of tensors and plain values
            (`.pth`, `.pt`, `.th`, `.ckpt`, `.bin`), whose one entry that fits is taken. This file, `onnx` and `outputs`
            are written "package:file" where they lie in an installed package.
        alternatives: Further files of weights for the same module, among which the search chooses its teacher by what
            students learn from it: of shorter trainings, for example, which often teach better.
        checkpoints: Files of weights from the course of one training, evenly spaced, the end last. They are one more
            choice: every epoch is then taught by the checkpoint that was as far in its own training.
        layers: Names of the modules whose outputs are the features for methods that need them; the last one of each
            resolution by default.
        onnx: File of a network with one input, `.onnx`, run by onnxruntime on the CPU.
        outputs: What the teacher said of the samples of each split, in the data set's order, and no network: an `.npz`
            archive of arrays `train`, `validation` and, if there is a test, `test`, each `samples x outputs`, or a
            folder of `train.npy` and so on. It says the same of every augmented view of a sample, and nothing of mixed
            ones.
        output: Which output is the logits, where the network returns several: the index in a tuple or list, the key in
            a dict, the name of an attribute or of an ONNX file's output.
        resize: Height and width in pixels that images get for the teacher, one number for both; bilinear, antialiased.
        preprocess: "module:function", from float images in `[0, 1]` (`batch x channels x height x width`; raw values of
            float32 signals and vectors), after `resize`, to what the network takes.
        mean: Of each channel, of values in `[0, 1]` (or raw ones): the network takes `(values - mean) / deviation`.
        deviation: Of each channel; goes with `mean`.
        classes: Indices of the outputs that are the task's classes, in the task's order; all outputs by default.
        probabilities: Whether the outputs are probabilities, whose logarithms are taken. If omitted, outputs that
            look like probabilities are refused.
        floor: Smallest validation accuracy at which the search starts.
        disk_bytes: Most that all stored outputs of the teachers for training samples may take, in the search and again
            in the full-length trainings. What is more is not stored, feature maps first, then embeddings, then logits:
            the teacher runs in every training that needs them, and results differ by the rounding to float16 only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    factory: str | None = None
    weights: str | None = None
    alternatives: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    layers: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
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
    mean: Annotated[tuple[Finite, ...], Field(min_length=1)] | None = None
    deviation: tuple[Positive, ...] | None = None
    classes: Annotated[tuple[Index, ...], Field(min_length=2)] | None = None
    probabilities: bool | None = None
    floor: Probability | None = None
    disk_bytes: Room = 4_000_000_000

    @property
    def source(self) -> str | None:
        """What the teacher is made from; None where it is given as an object."""
        return self.factory or self.onnx or self.outputs

    @property
    def files(self) -> tuple[str | None, ...]:
        """The files of weights of all teachers, by their number."""
        return (self.weights, *self.alternatives, *self.checkpoints)

    @property
    def teacher_schedules(self) -> dict[str, tuple[int, ...]]:
        """Who may teach a student: the numbers of the teachers, one after another, by the name of the choice."""
        single = {_file_name(file): (number,) for number, file in enumerate((self.weights, *self.alternatives))}
        n_single = len(single)
        following = tuple(range(n_single, n_single + len(self.checkpoints)))
        return single | ({CHECKPOINTS: following} if following else {})

    def numbered(self, number: int) -> "TeacherConfig":
        """The configuration of one of the teachers alone."""
        return self.model_copy(update={"weights": self.files[number], "alternatives": (), "checkpoints": ()})

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: tuple[int, ...] | None) -> tuple[int, ...] | None:
        repeated = {index for index in classes or () if (classes or ()).count(index) > 1}
        if repeated:
            raise ValueError(f"each output is one class at most, but {sorted(repeated)} come more than once")
        return classes

    @model_validator(mode="after")
    def _fit_together(self) -> "TeacherConfig":
        given = self.model_dump(exclude_none=True)
        sources = [name for name in ("factory", "onnx", "outputs") if name in given]
        if len(sources) > 1:
            raise ValueError(f"only one of factory, onnx and outputs may be set, but got {' and '.join(sources)}")
        if len(self.teacher_schedules) < 1 + len(self.alternatives) + bool(self.checkpoints):
            raise ValueError("weights and alternatives must be files of different names")
        if (self.alternatives or self.checkpoints) and not self.weights:
            raise ValueError("alternatives and checkpoints need weights beside them")
        if "weights" in given and "factory" not in given:
            raise ValueError("weights are for the module of a factory, but there is no factory")
        if "preprocess" in given and given.keys() & {"mean", "deviation"}:
            raise ValueError("preprocess does what mean and deviation do: set it, or those two")
        n_means, n_deviations = len(self.mean or ()), len(self.deviation or ())
        if n_means != n_deviations:
            raise ValueError(f"mean and deviation go together, but got {n_means} and {n_deviations} values")
        unused = [name for name in ("output", "resize", "preprocess", "mean", "deviation") if name in given]
        if "outputs" in given and unused:
            raise ValueError(f"{unused[0]} is for a network, but outputs are no network")
        return self


def _file_name(file: str | None) -> str:
    return Path((file or "").rpartition(":")[2]).name
