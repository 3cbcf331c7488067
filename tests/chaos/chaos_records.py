"""What was done to a search, and what came out: one line of JSON a search."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))  # which keep results in the same form

from lines import append_line, read_lines

__all__ = ["Hit", "Record", "append", "read"]


@dataclass(frozen=True)
class Hit:
    """One fault that was done.

    Attributes:
        fault: Its name.
        stage: The stage that the search was in.
        seconds: Time until the search recorded something new, or ended; None if the next fault came first, or it hung.
        broken: Invariants broken just afterwards, with what was seen.
    """

    fault: str
    stage: str
    seconds: float | None = None
    broken: Sequence[str] = ()


@dataclass(frozen=True)
class Record:
    """One search.

    Attributes:
        engine: Where it trained.
        database: Where it was recorded.
        seed: Seed of the whole run.
        number: Number of the search in that run.
        recipe: Name of what was searched.
        hits: The faults in their order.
        kills: Number of SIGKILLs among them.
        broken: Invariants broken in the end, with what was seen.
        hung: Whether it did not end by itself.
        seconds: Time that it took, all faults included.
        machine: Processor, versions and commit.
    """

    engine: str
    database: str
    seed: int
    number: int
    recipe: str
    hits: Sequence[Hit]
    kills: int
    broken: Sequence[str]
    hung: bool
    seconds: float
    machine: dict[str, str] = field(default_factory=dict)

    @property
    def is_survived(self) -> bool:
        """Whether all went well."""
        return not (self.hung or self.broken or any(hit.broken for hit in self.hits))


def append(file: Path, record: Record) -> None:
    """Append a record's line. Several processes may do so."""
    append_line(file, asdict(record))


def read(*files: Path) -> list[Record]:
    """All records of these files."""
    return [
        Record(**{**fields, "hits": [Hit(**hit) for hit in fields["hits"]]})
        for file in files
        for fields in read_lines(file)
        if fields.keys() == Record.__dataclass_fields__.keys()
    ]
