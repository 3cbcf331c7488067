"""What is run, and what came out: one line of JSON a run."""

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where benchmarks keep what they share

from lines import append_line, read_lines

__all__ = ["Record", "Run", "append", "read", "read_all"]


@dataclass(frozen=True, order=True)
class Run:
    """What decides a run's result, but for machine and code.

    Attributes:
        data: Name of the protocol.
        arm: Name of the arm, or of a step of arm H, or of a study.
        variant: Which of the arm's trainings, such as student and method; empty for arms of one.
        seed: Seed of stream, first weights and search.
        settings: Digest of the protocol and of the arm.
    """

    data: str
    arm: str
    variant: str
    seed: int
    settings: str


@dataclass(frozen=True)
class Record:
    """A run and what came out.

    Attributes:
        run: What was run.
        metrics: `validation` and, after a full training, `test`, `ece` (of the test split) and others, in `[0, 1]`;
            empty if the run failed.
        cost: `params`, `macs`, `activation_bytes`, `model_bytes` and `memory_bytes` of the student.
        teacher: The same of the teacher as far as it is known, its `validation` and `test`, and digests of it and the
            data.
        search_images: Images trained on in the search, in all trials.
        images: All images trained on.
        seconds: Time of all its training and searching; of a training that was resumed, the time since then.
        failure: Why there is no student; None if there is one.
        found: What further runs or the report need: the student, its family and its distillation.
        machine: Processor, versions and commit.
    """

    run: Run
    metrics: Mapping[str, float]
    cost: Mapping[str, float] = field(default_factory=dict)
    teacher: Mapping[str, Any] = field(default_factory=dict)
    search_images: int = 0
    images: int = 0
    seconds: float = 0.0
    failure: str | None = None
    found: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)


_FIELDS = {*Run.__dataclass_fields__, *Record.__dataclass_fields__} - {"run"}


def append(file: Path, record: Record) -> None:
    """Append a record's line. Several processes may do so."""
    fields = {name: getattr(record, name) for name in Record.__dataclass_fields__ if name != "run"}
    append_line(file, asdict(record.run) | fields)


def read_all(*files: Path) -> dict[Run, Record]:
    """All records of these files by run, the first of each, whatever protocol they followed."""
    found: dict[Run, Record] = {}
    for file in files:
        for fields in read_lines(file):
            if fields.keys() >= _FIELDS:
                record = _record(fields)
                found.setdefault(record.run, record)
    return found


def read(file: Path) -> dict[Run, Record]:
    """All records of a file by run, the first of each; empty if there is no file."""
    return read_all(file)


def _record(fields: Mapping[str, Any]) -> Record:
    run = Run(**{name: fields[name] for name in Run.__dataclass_fields__})
    return Record(run, **{name: fields[name] for name in Record.__dataclass_fields__ if name != "run"})
