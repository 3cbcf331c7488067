"""Keep what a run of `make search` came to.

    autokd best fashion-mnist -o json | python tests/benchmarks/recipe/record.py --seconds 1107 --installation 107

Appends a line to runs.jsonl, from which report.py makes the tables of RESULTS.md.
"""

import argparse
import datetime
import json
import sys
from dataclasses import asdict
from pathlib import Path

from recipe_runs import of_best, read

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where benchmarks keep what they share

from lines import append_line
from machines import processor

RUNS = Path(__file__).with_name("runs.jsonl")


def main() -> None:
    """Read the winner from standard input, and append its run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, required=True, help="wall time of the run")
    parser.add_argument(
        "--installation", type=float, help="seconds of it for installing; omitted if that was done before"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the search")
    parser.add_argument("--recipe", help="what the recipe has new; omitted if it is as in the run before")
    parser.add_argument("--remark", default="", help="what else ran on the machine, and the like")
    options = parser.parse_args()
    run = of_best(
        json.load(sys.stdin),
        date=datetime.date.today().isoformat(),
        recipe=options.recipe or read(RUNS)[-1].recipe,
        seed=options.seed,
        seconds=options.seconds,
        with_installation=options.installation is not None,
        processor=processor(),
        phases={} if options.installation is None else {"installation": options.installation},
        remark=options.remark,
    )
    append_line(RUNS, asdict(run))


if __name__ == "__main__":
    main()
