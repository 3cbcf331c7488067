"""The tables of the headline, from any set of records."""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from claims import Claim, Evidence, claims
from intervals import estimate
from plan import settings_of
from protocol import LONGER, PROTOCOLS
from ranking import ranking
from records import Record, Run

__all__ = ["markdown"]

_ROWS = (
    "P",
    "A",
    "A-t",
    "B",
    "E",
    "C1",
    "C2",
    "K-nago",
    "K-randwire",
    "V",
    "TR",
    "TB-random",
    "TB-evolution",
    "H",
    *LONGER,
)

_STUDIES = ("H-screen", "H-tune", "top", "families", "draws", "methods")
"""What has no row of its own."""

_SIZES = {"params": (1, 0), "activation_bytes": (1e3, 1), "memory_bytes": (1e3, 1), "macs": (1e6, 2)}
"""What a network costs, with unit and digits of its column."""


def markdown(records: Mapping[Run, Record]) -> str:
    """Tables of arms and claims for each data set, and the machines that ran them."""
    parts = []
    for data in dict.fromkeys(run.data for run in records):
        every = [record for run, record in records.items() if run.data == data]
        own = _comparable(data, every)
        evidence = Evidence(data, own)
        parts += [f"### {data}", _arms(evidence), _left_out(every, own), _screening(evidence), ranking(evidence)]
        parts += [_claims(claims(evidence)), _machines(own)]
    return "\n\n".join(part for part in parts if part) if parts else "No runs yet."


def _comparable(data: str, records: Sequence[Record]) -> list[Record]:
    """Records of the protocol as it is now, since lines of other settings are not comparable.

    Of an arm that the protocol does not know they are those of the settings that came last.
    """
    last = {(record.run.arm, record.run.variant): record.run.settings for record in records}
    now = {of: settings_of(PROTOCOLS[data], *of) or settings for of, settings in last.items()}
    return [record for record in records if record.run.settings == now[record.run.arm, record.run.variant]]


def _left_out(every: Sequence[Record], own: Sequence[Record]) -> str:
    """The arms all of whose lines are of other settings, in words."""
    names = dict.fromkeys(record.run.arm for record in every)
    gone = [name for name in names if name not in {record.run.arm for record in own}]
    return f"Left out, since their lines are of another protocol: {', '.join(gone)}." if gone else ""


def _arms(evidence: Evidence) -> str:
    lines = [
        "| arm | parameters | activations, kB | memory, kB | MACs, M | validation, % | test, % "
        "| over the teacher, points | ECE, % | images searched, M | minutes | n |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
        *_teacher(evidence),
    ]
    for name in [*_ROWS, *_others(evidence)]:
        lines += _rows(evidence, name)
    return "\n".join(lines)


def _others(evidence: Evidence) -> list[str]:
    """Arms that are not in the protocol's table, such as one with other defaults; studies have lines of their own."""
    names = dict.fromkeys(
        record.run.arm for record in evidence.records if "test" in record.metrics or not record.metrics
    )
    return [name for name in names if name not in (*_ROWS, *_STUDIES)]


def _teacher(evidence: Evidence) -> Iterator[str]:
    teachers = {record.teacher["digest"]: record.teacher for record in evidence.records if record.teacher}
    for digest, teacher in teachers.items():
        accuracies = [f"{100 * teacher[name]:.2f}" for name in ("validation", "test", "ece")]
        yield _line(f"teacher {digest[:6]}", *_sizes(teacher), *accuracies[:2], "", accuracies[2], "", "", "")


def _rows(evidence: Evidence, name: str) -> Iterator[str]:
    for variant in dict.fromkeys(record.run.variant for record in evidence.records if record.run.arm == name):
        failed = len(evidence.failed(name, variant))
        runs, tests = evidence.arm(name, variant), evidence.tests(name, variant)
        teacher = {record.run.seed: 100 * record.teacher["test"] for record in runs if record.teacher}
        over, test = evidence.difference(tests, teacher), estimate(list(tests.values()))
        if not runs:
            yield _line(f"{name} {variant}".strip(), *[""] * 10, f"0, {failed} failed")
        if test is None:
            continue
        yield _line(
            f"{name} {variant}".strip(),
            *_sizes({size: fmean(record.cost[size] for record in runs) for size in _SIZES}),
            f"{100 * fmean(record.metrics['validation'] for record in runs):.2f}",
            f"{test.mean:.2f}" + ("" if math.isnan(test.deviation) else f" ± {test.deviation:.2f}"),
            over.text.partition(", sign")[0] if over else "",
            f"{100 * fmean(record.metrics['ece'] for record in runs):.2f}",
            f"{fmean(record.search_images for record in runs) / 1e6:.2f}",
            f"{fmean(record.seconds for record in runs) / 60:.0f}",
            f"{test.n}" + (f", {failed} failed" if failed else ""),
        )


def _sizes(network: Mapping[str, Any]) -> list[str]:
    """Cells of what a network costs; empty where it is not known."""
    return [
        "" if network.get(name) is None else f"{network[name] / unit:,.{digits}f}"
        for name, (unit, digits) in _SIZES.items()
    ]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _screening(evidence: Evidence) -> str:
    """The pairs of student and method that were screened, as a table of validation accuracies."""
    screened = [record for record in evidence.records if record.run.arm == "H-screen"]
    if not screened:
        return ""
    by_pair = {record.run.variant: record for record in screened}
    students = list(dict.fromkeys(variant.partition("/")[0] for variant in by_pair))
    methods = list(dict.fromkeys(variant.partition("/")[2] for variant in by_pair))
    lines = [
        f"Screening of hand-designed students, {len(screened)} pairs, validation accuracy in percent, n = 1:\n",
        f"| method | {' | '.join(students)} |",
        f"|---|{'---|' * len(students)}",
    ]
    for method in methods:
        cells = (_validation(by_pair.get(f"{student}/{method}")) for student in students)
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _validation(record: Record | None) -> str:
    if record is None:
        return ""
    return f"{100 * record.metrics['validation']:.2f}" if record.metrics else "failed"


def _claims(marked: Sequence[Claim]) -> str:
    lines = ["| claim | number | measured, mean and 95 % interval | mark |", "|---|---|---|---|"]
    lines += [f"| {claim.name} | {claim.number} | {claim.value} | **{claim.mark}** |" for claim in marked]
    return "\n".join(lines)


def _machines(records: Sequence[Record]) -> str:
    """What ran the records."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for record in records:
        machine = record.machine
        kinds.setdefault((machine["processor"], f"Python {machine['python']}, torch {machine['torch']}"), []).append(
            machine["commit"]
        )
    lines = [
        f"{len(commits)} runs on one thread of an {processor}, {versions}, commits {', '.join(dict.fromkeys(commits))}"
        for (processor, versions), commits in kinds.items()
    ]
    return f"{'; '.join(lines)}." if lines else ""
