"""Accuracy against size on digits: the front that a real search of two objectives finds, by sampler.

    python tests/benchmarks/search/digits_fronts.py --home FOLDER [--samplers trust-region random] [--seeds 5]
        [--trials 40] [--rungs 4 12] [--cost params]

The task is the recipe `digits` with `optimizer.objectives = ["accuracy", COST]`, with halving for everybody. A front is
judged by its hypervolume above 80 % accuracy and below the limit of the cost. The cost is logarithmic, as the share of
the budget is searched, from a twentieth of the limit, where nothing more is gained: 1 is all of it. Only students of
the last rung count. The images that were trained on are told beside it, since samplers differ in what they prune.

Runs what the folder lacks, seed by seed; a search that was cut off is resumed. The folder is for one setting of
`--trials`, `--rungs` and `--cost`. Then prints the report of everything asked for.
"""

import argparse
import statistics
from collections.abc import Iterable
from math import log
from pathlib import Path

import numpy as np

from autokd.config.schema import SearchConfig
from autokd.optimizers.hypervolume import hypervolume
from autokd.recipes.catalogue import find_config
from autokd.searches.api import begin, find, find_all
from autokd.searches.reporter import SILENT
from autokd.searches.result import SearchResult

FLOOR, LEAST_SHARE = 0.8, 0.05


def main() -> None:
    """Search what is missing, then report."""
    arguments = _arguments()
    found: dict[str, list[SearchResult]] = {name: [] for name in arguments.samplers}
    for seed in range(arguments.seeds):
        for name in arguments.samplers:
            config = _config(arguments, name, seed)
            found[name].append(_searched(config, arguments.home))
            print(f"{config.name}: {volume(found[name][-1]):.4f}", flush=True)
    print(f"\n| sampler | searches | hypervolume | se | front | images |\n{'|---' * 6}|")
    for name, results in found.items():
        print(_row(name, results))


def volume(result: SearchResult) -> float:
    """Hypervolume of the front of a search's complete trials, from 0 to 1."""
    limit = result.problem.budget.limits[result.problem.costs[0]]
    records = (record for record in result.trials if record.trial.state == "complete")
    return front_volume(
        ((record.best_value, record.costs(result.problem.costs)[0] / limit) for record in records), FLOOR, LEAST_SHARE
    )


def front_volume(points: Iterable[tuple[float, float]], floor: float, least_share: float) -> float:
    """Hypervolume of accuracies and shares of a limit as described above, from 0 to 1.

    Args:
        points: Pairs of an accuracy and a share of the limit.
        floor: Accuracy at and below which nothing is gained.
        least_share: Share below which nothing more is gained.
    """
    gains = [
        ((accuracy - floor) / (1 - floor), log(max(share, least_share)) / log(least_share))
        for accuracy, share in points
    ]
    return hypervolume(np.array(gains, dtype=np.float64).reshape(len(gains), 2), np.zeros(2))


def _searched(config: SearchConfig, home: Path) -> SearchResult:
    """The finished search of this configuration."""
    known = {result.name for result in find_all(home)}
    result = find(config.name, home, SILENT) if config.name in known else begin(config, home, reporter=SILENT)
    return result if result.row.status == "finished" else result.resume()


def _config(arguments: argparse.Namespace, name: str, seed: int) -> SearchConfig:
    overrides = [
        f"seed={seed}",
        f"trials={arguments.trials}",
        f"training.rungs={arguments.rungs}",
        f"optimizer.name={name}",
        f"optimizer.objectives=['accuracy', '{arguments.cost}']",
        "training.precision=float32",
        "references.names=none",
    ]
    return find_config("digits", overrides, f"{name}-{seed}")


def _row(name: str, results: list[SearchResult]) -> str:
    volumes = [volume(result) for result in results]
    error = statistics.stdev(volumes) / len(volumes) ** 0.5 if len(volumes) > 1 else float("nan")
    front = statistics.fmean(len(result.front) for result in results)
    images = statistics.fmean(result.search_cost["images"] or 0 for result in results)
    return f"| {name} | {len(results)} | {statistics.fmean(volumes):.4f} | {error:.4f} | {front:.1f} | {images:,.0f} |"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="folder of the searches")
    parser.add_argument("--samplers", nargs="+", default=["trust-region", "random"])
    parser.add_argument("--seeds", type=int, default=5, help="searches of each, with the seeds 0, 1, ...")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--rungs", type=float, nargs="+", default=[4.0, 12.0], help="epochs")
    parser.add_argument("--cost", default="params", help="the second objective; the recipe limits params")
    return parser.parse_args()


if __name__ == "__main__":  # workers are processes of their own, which import this module
    main()
