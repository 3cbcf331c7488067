"""What must hold of a search whatever was done to it: each is a function that returns its violations, one line each."""

import json
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
from evidence import Evidence
from safetensors import SafetensorError
from safetensors.torch import load_file

from autokd.core.files import UNFINISHED
from autokd.errors import InputError
from autokd.export.manifest import read_manifest
from autokd.export.verification import check_files
from autokd.teachers.outputs.cache import TeacherCache

__all__ = ["ALWAYS", "AT_THE_END", "Invariant", "loss", "marked_processes", "orphans", "violations"]

Invariant = Callable[[Evidence], Iterable[str]]


def damage(evidence: Evidence) -> Iterable[str]:
    """Rows that `autokd doctor` calls damaged: values of another type, missing numbers, rows that lack their parent."""
    return evidence.damages


def repetition(evidence: Evidence) -> Iterator[str]:
    """Trials, students and evaluations that are recorded twice, and what is told twice of them or of assistants."""
    yield from _repeated("trial", (row.number for row in evidence.trials))
    yield from _repeated("finish order", (row.finish_order for row in evidence.trials if row.finish_order is not None))
    yield from _repeated("student", ((row.trial_id, row.purpose, row.replicate) for row in evidence.students))
    yield from _repeated("evaluation", ((row.student_id, row.rung) for row in evidence.evaluations))
    yield from _repeated("opening of trial", _told(evidence, "trial_opened", "trial"))
    yield from _repeated("end of trial", _told(evidence, "trial_finished", "trial"))
    yield from _repeated("assistant", _told(evidence, "assistant", "name"))
    yield from _repeated("end of evaluation", _told(evidence, "evaluation_finished", "evaluation"))


def untold(evidence: Evidence) -> Iterator[str]:
    """Rows without their event, and events without their row: half of a transaction."""
    opened, ended = {row.number for row in evidence.trials}, {row.number for row in evidence.trials if row.finished_at}
    evaluated = {row.id for row in evidence.evaluations if row.state == "complete"}
    for kind, key, there in (
        ("trial_opened", "trial", opened),
        ("trial_finished", "trial", ended),
        ("evaluation_finished", "evaluation", evaluated),
    ):
        told = set(_told(evidence, kind, key))
        yield from (f"{key} {number} has no event {kind}" for number in sorted(there - told))
        yield from (f"event {kind} tells of {key} {number}, whose row does not" for number in sorted(told - there))


def half_written(evidence: Evidence) -> Iterator[str]:
    """Files under their final names that cannot be read to their end, and incomplete exports."""
    for file in sorted(evidence.folder.rglob("*")):
        check = _CHECKS.get(file.suffix)
        if check is None or UNFINISHED.fullmatch(file.name) or not _is_published(file, evidence.folder):
            continue
        try:
            if evidence.spoilt.get(file) != file.stat().st_ino:
                check(file)
        except FileNotFoundError:  # a controller has removed it in the meantime
            continue
        except (OSError, ValueError, SafetensorError, InputError) as error:
            yield f"{file.relative_to(evidence.folder)} is not whole: {error}"


def unfiled(evidence: Evidence) -> Iterator[str]:
    """Complete evaluations whose result file is missing or says something else than their row."""
    for row in evidence.evaluations:
        if row.state == "complete":
            trajectory, _, rest = row.key.partition("-")
            file = evidence.evaluations_folder / trajectory / f"result-{rest}.json"
            if _metrics(file) != row.metrics:
                yield f"{file.name} of {trajectory} does not say what evaluation {row.id} does"


def unended(evidence: Evidence) -> Iterator[str]:
    """What a search lacks whose trials must all be there, once each, and have ended in some order."""
    if evidence.search.status != "finished":
        yield f"the search is {evidence.search.status}"
    numbers = sorted(row.number for row in evidence.trials if row.reference is None)
    wanted = list(range(evidence.search.config["trials"]))
    if numbers != wanted:
        yield f"the trials are {numbers}, but must be {wanted}"
    orders = sorted(
        row.finish_order for row in evidence.trials if row.reference is None and row.finish_order is not None
    )
    if orders != wanted:
        yield f"the trials ended in the order {orders}, but must in {wanted}"
    yield from (f"trial {row.number} is running" for row in evidence.trials if row.state == "running")
    yield from (f"evaluation {row.id} is {row.state}" for row in evidence.evaluations if row.state != "complete")


def difference(evidence: Evidence, undisturbed: Evidence) -> Iterator[str]:
    """Where rows or exported files differ from those of the same search that nobody disturbed, which must be there.

    Args:
        evidence: The search.
        undisturbed: The same search, of which nothing is missing.
    """
    ours, theirs = evidence.history, undisturbed.history
    for what in sorted(ours.keys() | theirs.keys()):
        row, other = ours.get(what, {}), theirs.get(what, {})
        differing = sorted(name for name in row.keys() | other.keys() if row.get(name) != other.get(name))
        if differing:
            yield f"{what} differs from the undisturbed one in {', '.join(differing)}"
    exported = _exported(undisturbed)
    if not exported:
        yield "there is no export of the undisturbed one to compare with"
    if _exported(evidence) != exported:
        yield "the exported files differ from the undisturbed ones"


def loss(before: Evidence | None, after: Evidence | None) -> Iterator[str]:
    """What was recorded at one moment and is gone or different at a later one.

    Args:
        before: The search at the earlier moment; None if it was not recorded.
        after: The search at the later moment.
    """
    if before is None:
        return
    if after is None:
        yield "the search is gone"
        return
    earlier, later = before.history, after.history
    for what, said in earlier.items():
        if what not in later:
            yield f"{what} is gone"
        elif said.get("state") not in ("running", "failed") and later[what] != said:
            yield f"{what} had ended, and says something else now"
    told = [(event.kind, event.payload) for event in after.events[: len(before.events)]]
    if told != [(event.kind, event.payload) for event in before.events]:
        yield "events are gone, or differ"


def orphans(mark: str, expected: Iterable[int] = (), grace_seconds: float = 15.0) -> list[str]:
    """Processes with a mark in their environment that still live after a while.

    Args:
        mark: The mark, `NAME=VALUE`.
        expected: Ids of those that should live.
        grace_seconds: The longest that a process may take to notice that its controller is gone.
    """
    expected, deadline = set(expected), time.monotonic() + grace_seconds
    while left := [process for process in marked_processes(mark) if process.pid not in expected]:
        if time.monotonic() > deadline:
            return [f"process {process.pid} lives on: {_command(process)}" for process in left]
        time.sleep(0.1)
    return []


def marked_processes(mark: str) -> list[psutil.Process]:
    """All processes with a mark in the environment that they started with.

    Args:
        mark: The mark, `NAME=VALUE`.
    """
    name, _, value = mark.partition("=")
    return [process for process in psutil.process_iter() if _environment(process).get(name) == value]


def violations(evidence: Evidence, invariants: Iterable[Invariant]) -> list[str]:
    """All violations of some invariants, each with the invariant's name before it.

    Args:
        evidence: What a search has left behind.
        invariants: What to check.
    """
    return [f"{invariant.__name__}: {line}" for invariant in invariants for line in invariant(evidence)]


ALWAYS: tuple[Invariant, ...] = (damage, repetition, untold, half_written, unfiled)
"""What holds at every moment at which no controller writes."""
AT_THE_END: tuple[Invariant, ...] = (*ALWAYS, unended)
"""What holds of a search that has ended."""


def _told(evidence: Evidence, kind: str, key: str) -> list[Any]:
    return [event.payload[key] for event in evidence.events if event.kind == kind]


def _repeated(what: str, keys: Iterable[Hashable]) -> Iterator[str]:
    return (f"{what} {key} is there {n} times" for key, n in Counter(keys).items() if n > 1)


def _is_published(file: Path, folder: Path) -> bool:
    """Whether a file is in no folder that is still being made, such as that of an export."""
    return not any(part.startswith(".") for part in file.relative_to(folder).parts[:-1])


def _whole_array(file: Path) -> None:
    """Teacher outputs end with the digest of what comes before."""
    name, part, chunk = file.stem.rsplit("-", 2)
    if not TeacherCache(file.parent).holds(name, {part}, int(chunk)):  # type: ignore[arg-type]
        raise ValueError("it is damaged")


def _whole_json(file: Path) -> None:
    json.loads(file.read_text())
    if file.name == "manifest.json":
        check_files(file.parent, read_manifest(file.parent))


_CHECKS: dict[str, Callable[[Path], object]] = {
    ".safetensors": load_file,
    ".npy": _whole_array,
    ".json": _whole_json,
}


def _metrics(file: Path) -> Any:
    """Those of a result file; None if there is none, or only half of it."""
    try:
        return json.loads(file.read_text())["metrics"]
    except (FileNotFoundError, ValueError):
        return None


def _exported(evidence: Evidence) -> list[Any]:
    """Digests of the files of all exports, and what their manifests say of the student."""
    manifests = [json.loads(file.read_text()) for file in sorted(evidence.folder.rglob("manifest.json"))]
    return [(manifest["files"], manifest["metrics"]) for manifest in manifests]


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return {} if process.status() == psutil.STATUS_ZOMBIE else process.environ()
    except (psutil.Error, OSError):
        return {}


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:120]
    except psutil.Error:
        return "it has just ended"
