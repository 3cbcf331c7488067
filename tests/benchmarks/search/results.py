"""Results on disk: one JSON line a run, so that a cut-off benchmark goes on and nothing is run twice."""

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where benchmarks keep what they share

from lines import append_line, read_lines
from runner import Shorter, Trace

__all__ = ["Result", "Run", "append", "read"]


@dataclass(frozen=True)
class Run:
    """What decides a run's result, but for the machine.

    Attributes:
        task: Name of the task.
        peer: Name of the peer.
        version: Of the peer's code: another version is another run.
        seed: Seed of the peer and of the training seeds that are drawn.
        workers: Trainings at a time.
        evaluations: Full trainings in all, or how many the time is enough for; see `runner.search`.
    """

    task: str
    peer: str
    version: str
    seed: int
    workers: int
    evaluations: int


@dataclass(frozen=True)
class Result:
    """A run and what came out.

    Attributes:
        run: What was run.
        optimum: What the task's best point is worth.
        trace: All evaluations.
    """

    run: Run
    optimum: float
    trace: Trace


_FIELDS = {*Run.__dataclass_fields__, "optimum", *Trace.__dataclass_fields__}


def append(file: Path, result: Result) -> None:
    """Adds a line. Several processes may do so: a line is one write."""
    append_line(file, {**asdict(result.run), "optimum": result.optimum, **asdict(result.trace)})


def read(file: Path) -> dict[Run, Result]:
    """All results of a file by run, the first of each; empty if there is no file.

    A torn line does not count, nor does one of a time when less was written down.
    """
    found: dict[Run, Result] = {}
    for fields in read_lines(file):
        if fields.keys() >= _FIELDS:
            result = _result(fields)
            found.setdefault(result.run, result)
    return found


def _result(fields: Mapping[str, Any]) -> Result:
    run = Run(**{name: fields[name] for name in Run.__dataclass_fields__})
    trace = Trace(**{name: fields[name] for name in Trace.__dataclass_fields__})
    trace.shorter[:] = [Shorter(*row) for row in trace.shorter]
    return Result(run, fields["optimum"], trace)
