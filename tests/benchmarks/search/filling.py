"""Benchmarks whose searches fill a file: their command line runs what the file lacks, then reports all of it."""

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from lines import append_line, read_lines
from run import VARIABLE

__all__ = ["Row", "fill_and_report"]

Row = dict[str, Any]
"""A search, as a line: `key` tells it from all others."""


def fill_and_report(
    description: str | None,
    wanted: Callable[[int], Iterable[tuple[Any, ...]]],
    run: Callable[..., Row],
    report: Callable[[Sequence[Row]], Iterable[str]],
) -> None:
    """Run what is missing of a share, then print the report.

    Args:
        description: Text of `--help`.
        wanted: Keys of all searches, by the number of seeds.
        run: Makes the row of a search from the parts of its key and the tables' folder.
        report: The lines of the report, from all rows.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--tables", type=Path, default=os.environ.get(VARIABLE), help="folder of the recorded tables")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--share", default="0/1", help="of the searches, such as 1/2")
    arguments = parser.parse_args()
    if arguments.tables is None:
        parser.error(f"the tables' folder is needed: pass --tables FOLDER or set {VARIABLE}.")
    part, parts = map(int, arguments.share.split("/"))
    torch.set_num_threads(1)
    done = {tuple(row["key"]) for row in read_lines(arguments.file)}
    for key in [*wanted(arguments.seeds)][part::parts]:
        if key not in done:
            append_line(arguments.file, run(*key, arguments.tables))
    print("\n".join(report([*read_lines(arguments.file)])))
