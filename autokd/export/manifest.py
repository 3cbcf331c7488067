"""The manifest of an exported folder, and its schema: a manifest may have been written by anybody."""

import json
import re
import reprlib
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from autokd.errors import InputError

__all__ = ["FILES", "FORMAT", "MANIFEST", "Manifest", "read_manifest"]

FORMAT = 1
MANIFEST = "manifest.json"
FILES = ("model.py", "weights.safetensors", "architecture.json", "probe.safetensors")

LARGEST_BYTES = 2**24  # a manifest with the names of 10,000 classes has about 200 kB
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")


def _check_file_name(name: str) -> str:
    if not _FILE_NAME.fullmatch(name) or name == MANIFEST:
        raise ValueError(f"must be the plain name of a file in the folder, but got {reprlib.repr(name)}")
    return name


FileName = Annotated[str, AfterValidator(_check_file_name)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Key = Annotated[str, Field(max_length=255)]
Text = Annotated[str, Field(max_length=10_000)]


class Manifest(BaseModel):
    """Contents of a manifest; unknown keys are allowed and kept.

    Attributes:
        format: Version of the folder's layout.
        files: SHA-256 of every file of the folder except the manifest.
        metrics: Metrics of the student, such as `accuracy` and `test_accuracy`.
        search: Name of the search that found the student.
        search_began: Time at which that search began, ISO 8601; exports of version 0.1.0 do not have it.
        command: Command line that began the search.
        classes: Names of the classes.
        batch_norm_folded: Whether batch norm is folded into the convolutions.
        architecture_digest: Digest of the architecture that was trained.
        written_architecture_digest: Digest of the architecture in `model.py` and `architecture.json`, which differs if
            batch norm is folded.
        cost: Cost of the written architecture.
        versions: Versions of Python and the packages that decide results.
        data: Source and digest of the data set.
        distillation: Distillation method and its settings.
        family: Parameters of the student's family.
        comparison: The student beside the best of the references trained as long: its name, the difference of their
            accuracies, half-width of its 95 % interval, by which samples and after how many epochs; None without one.
        input: Shape and normalisation of the samples.
        references: Size and metrics of what one would have trained without the search.
        teacher: Source, digest, size and metrics of the teacher.
        panel: Assistants, with their digests, figures and weights, if the student's method learns from them; `path` in
            `distillation` names those that taught it, if that was searched. None if only the teacher taught.
        training: Settings of the student's training, with its `trial`, or the name of the `reference` that it is.
        axes: The student beside its teacher: effectiveness, lightness and computation.
        search_cost: What the trainings of the search cost: `worker_seconds`, `images` and `teacher_images`.
    """

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    format: int
    files: Annotated[dict[FileName, Digest], Field(max_length=100)]
    metrics: Annotated[dict[Key, float | None], Field(max_length=1_000)]
    search: Text | None = None
    search_began: Text | None = None
    command: list[Text] | None = None
    classes: list[Text] | None = None
    batch_norm_folded: bool | None = None
    architecture_digest: Text | None = None
    written_architecture_digest: Text | None = None
    cost: dict[Key, int] | None = None
    versions: dict[Key, Text] | None = None
    data: dict[Key, Any] | None = None
    distillation: dict[Key, Any] | None = None
    family: dict[Key, Any] | None = None
    comparison: dict[Key, Any] | None = None
    input: dict[Key, Any] | None = None
    references: list[dict[Key, Any]] | None = None
    teacher: dict[Key, Any] | None = None
    panel: dict[Key, Any] | None = None
    training: dict[Key, Any] | None = None
    axes: dict[Key, Any] | None = None
    search_cost: dict[Key, float | None] | None = None

    @field_validator("files")
    @classmethod
    def _check_files(cls, files: dict[str, str]) -> dict[str, str]:
        if missing := [name for name in FILES if name not in files]:
            raise ValueError(f"must name {', '.join(FILES)}, but lacks {', '.join(missing)}")
        return files

    @field_validator("metrics")
    @classmethod
    def _check_metrics(cls, metrics: dict[str, float | None]) -> dict[str, float | None]:
        accuracy = metrics.get("test_accuracy")
        if accuracy is not None and not 0 <= accuracy <= 1:
            raise ValueError(f"test_accuracy must be between 0 and 1, but got {accuracy}")
        return metrics

    @property
    def test_accuracy(self) -> float | None:
        """Recorded test accuracy; None if the student was not tested."""
        return self.metrics.get("test_accuracy")


def read_manifest(folder: Path) -> Manifest:
    """Manifest of an exported folder.

    Raises:
        InputError: If the folder has no manifest, or one that this version cannot read.
    """
    values = _read_values(folder)
    if not isinstance(values, dict) or not {"format", "files", "metrics"} <= values.keys():
        raise InputError(f"{folder} is not an exported folder: its {MANIFEST} is something else's.")
    if values["format"] != FORMAT:
        got = reprlib.repr(values["format"])
        raise InputError(f"{folder}: its format is {got}, but this version reads {FORMAT}.")
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{folder / MANIFEST}: {_first_mistake(error)}.") from None


def _read_values(folder: Path) -> Any:
    path = folder / MANIFEST
    try:
        if path.is_symlink() or not path.is_file():  # opening a pipe would wait for its writer
            raise InputError(f"{folder} is not an exported folder: it has no readable {MANIFEST}.")
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            raise InputError(f"{path} is larger than {LARGEST_BYTES:,} bytes: it is no manifest.")
        return json.loads(content)
    except (OSError, ValueError, RecursionError):
        raise InputError(f"{folder} is not an exported folder: it has no readable {MANIFEST}.") from None


def _first_mistake(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"] if part != "[key]")
    message = first["msg"].removeprefix("Value error, ")
    return f"{where[:100]}: {message[0].lower()}{message[1:]}"
