"""The tables of a chaos run."""

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from chaos_records import Hit, Record
from stages import STAGES

__all__ = ["markdown"]


def markdown(records: Sequence[Record]) -> str:
    """Tables of runs, faults and stages, what was broken, and the machines.

    Args:
        records: The searches of all runs.
    """
    if not records:
        return "No runs yet."
    hits = [hit for record in records for hit in record.hits]
    return "\n\n".join(["\n".join(_runs(records)), "\n".join(_faults(hits)), "\n".join(_stages(hits)), _rest(records)])


def _runs(records: Sequence[Record]) -> Iterator[str]:
    yield "| database | engine | searches | SIGKILLs | other faults | lost | twice | hung | otherwise broken |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for key in sorted({(record.database, record.engine) for record in records}):
        own = [record for record in records if (record.database, record.engine) == key]
        kills, hits = sum(record.kills for record in own), sum(len(record.hits) for record in own)
        broken = Counter(line.partition(":")[0] for record in own for line in _broken(record))
        lost, twice = broken.pop("loss", 0) + broken.pop("unended", 0), broken.pop("repetition", 0)
        hung = sum(record.hung for record in own)
        yield _line(*key, len(own), kills, hits - kills, lost, twice, hung, broken.total())


def _broken(record: Record) -> list[str]:
    return [*(line for hit in record.hits for line in hit.broken), *([] if record.hung else record.broken)]


def _faults(hits: Sequence[Hit]) -> Iterator[str]:
    yield "| fault | times | survived | seconds to recover, median | longest |"
    yield "|---|---|---|---|---|"
    for name in sorted({hit.fault for hit in hits}):
        own = [hit for hit in hits if hit.fault == name]
        seconds = [hit.seconds for hit in own if hit.seconds is not None]
        times = (f"{median(seconds):.0f}", f"{max(seconds):.0f}") if seconds else ("", "")
        yield _line(name, len(own), sum(not hit.broken for hit in own), *times)


def _stages(hits: Sequence[Hit]) -> Iterator[str]:
    yield f"| fault | {' | '.join(STAGES)} |"
    yield f"|---|{'---|' * len(STAGES)}"
    counts = Counter((hit.fault, hit.stage) for hit in hits)
    for name in sorted({hit.fault for hit in hits}):
        yield _line(name, *(counts[name, stage] or "" for stage in STAGES))


def _rest(records: Sequence[Record]) -> str:
    """What was broken in words, and what ran the records."""
    broken = [
        f"search {record.number} on {record.database} and {record.engine}: {line}"
        for record in records
        for line in [*_broken(record), *(record.broken if record.hung else [])]
    ]
    machines = Counter(
        f"{record.machine['processor']}, Python {record.machine['python']}, commit {record.machine['commit']}"
        for record in records
    )
    told = "\n".join(f"* {line}" for line in broken) if broken else "Nothing was broken."
    return f"{told}\n\nRun on: " + "; ".join(f"{machine} ({n} searches)" for machine, n in machines.items()) + "."


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"
