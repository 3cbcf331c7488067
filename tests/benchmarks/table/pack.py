"""Packs rows into the file that is committed, and says what is in it.

    python tests/benchmarks/table/pack.py ROWS.jsonl [MORE.jsonl ...]    # writes students.jsonl.xz beside this script
    python tests/benchmarks/table/pack.py                                # says what is in the file

Rows of several machines may be packed together; of two rows of one training the first counts.
"""

import argparse
import json
import lzma
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean, variance
from typing import Any

from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).parent.parent))
from lines import read_lines

__all__ = ["FILE", "load", "merged", "write"]

FILE = Path(__file__).with_name("students.jsonl.xz")
Row = dict[str, Any]


def load(file: Path = FILE) -> list[Row]:
    """All rows of a packed table, one a training, ordered by number and repeat. README.md says what is in a row."""
    with lzma.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def write(rows: Iterable[Row], file: Path = FILE) -> None:
    """Pack rows; equal rows make equal files."""
    with lzma.open(file, "wt", encoding="utf-8", preset=9) as lines:
        for row in rows:
            lines.write(json.dumps(row, sort_keys=True, separators=(",", ":")) + "\n")


def merged(files: Sequence[Path]) -> list[Row]:
    """The rows of some files, each training once."""
    found: dict[tuple[Any, ...], Row] = {}
    for row in (row for file in files for row in read_lines(file)):
        found.setdefault((row["number"], row["repeat"], row["in_full"]), row)
    return [found[key] for key in sorted(found)]


def summary(rows: Sequence[Row]) -> Iterator[str]:
    """What there is, the noise of a training, and how well the rungs foretell the full length."""
    good = [row for row in rows if "failure" not in row]
    first = [row for row in good if not row["repeat"] and not row["in_full"]]
    yield f"{len(rows)} trainings of {len({row['number'] for row in rows})} entries, {len(rows) - len(good)} failed\n"
    yield "| task | space | entries | accuracy at the last rung, %: least, mean, most | noise, points |"
    yield "|---|---|---|---|---|"
    for task, space in sorted(Counter((row["task"], row["space"]) for row in first)):
        own = [row for row in good if (row["task"], row["space"]) == (task, space) and not row["in_full"]]
        values = [_accuracy(row) for row in own if not row["repeat"]]
        cells = f"{min(values):.1f}, {fmean(values):.1f}, {max(values):.1f}"
        yield f"| {task} | {space} | {len(values)} | {cells} | {_noise(own)} |"
    yield f"\n| rung | rank correlation with the full length, main task, n = {len(_pairs(good))} |\n|---|---|"
    for rung in range(max((len(row["rungs"]) for row in first), default=0)):
        pairs = [(short["rungs"][rung]["accuracy"], full) for short, full in _pairs(good)]
        rank = f"{spearmanr(*zip(*pairs, strict=True)).statistic:.2f}" if len(pairs) > 2 else ""
        yield f"| {rung} | {rank} |"


def _accuracy(row: Row) -> float:
    return 100 * float(row["rungs"][-1]["accuracy"])


def _noise(rows: Sequence[Row]) -> str:
    """Standard deviation between trainings of one entry, over the entries that were trained more than once."""
    values: dict[int, list[float]] = {}
    for row in rows:
        values.setdefault(row["number"], []).append(_accuracy(row))
    several = [variance(each) for each in values.values() if len(each) > 1]
    return f"{fmean(several) ** 0.5:.2f}" if several else ""


def _pairs(rows: Sequence[Row]) -> list[tuple[Row, float]]:
    """Of the main task, first trainings at the rungs with the same entry's test accuracy at full length."""
    full = {row["number"]: float(row["rungs"][-1]["test_accuracy"]) for row in rows if row["in_full"]}
    own = [row for row in rows if row["task"] == "main" and not row["repeat"] and not row["in_full"]]
    return [(row, full[row["number"]]) for row in own if row["number"] in full]


def main() -> None:
    """Pack what is given, then print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, nargs="*")
    arguments = parser.parse_args()
    if missing := [str(file) for file in arguments.rows if not file.exists()]:
        sys.exit(f"there is no file {missing[0]}")
    if arguments.rows:
        write(merged(arguments.rows))
    print("\n".join(summary(load())))


if __name__ == "__main__":
    main()
