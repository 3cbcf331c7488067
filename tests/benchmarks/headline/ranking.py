"""How methods rank: whether short trainings, as a search makes them, order them as full length does."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from statistics import fmean

from claims import Evidence
from hand_drawn import RANKED_STUDENT
from scipy.stats import spearmanr

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where benchmarks keep what they share

from intervals import Estimate, estimate

__all__ = ["ranking"]

FEWEST = 3  # methods, below which there is nothing to say about an order
BASELINE = "kd"
LEADERS = (1, 3)  # methods that lead in short trainings, of which one is chosen

Accuracies = Mapping[str, Mapping[int, float]]  # validation accuracy in percent, of each method with each seed


def ranking(evidence: Evidence) -> str:
    """A table of the study `methods`, the best at full length first, and how far shorter lengths agree with that."""
    lengths = sorted({_length(record.run.variant) for record in evidence.arm("methods")})
    if not lengths:
        return ""
    measured = {length: _accuracies(evidence, length) for length in lengths}
    full = measured[lengths[-1]]
    cells = " | ".join(f"{length:g} epochs" for length in lengths)
    lines = [
        "Methods at their defaults by length of training, one student, validation accuracy in percent:\n",
        f"| method | n | {cells} | test, over {BASELINE}, points |",
        f"|---|---|{'---|' * len(lengths)}---|",
    ]
    for method in sorted(full, key=lambda method: -fmean(full[method].values())):
        means = (_mean(measured[length].get(method, {}).values()) for length in lengths)
        over = _over_baseline(evidence, method, lengths[-1])
        lines.append(f"| {method} | {len(full[method])} | {' | '.join(means)} | {over} |")
    return "\n".join([*lines, "", *_agreement(measured, lengths), *_choosing(evidence, measured, lengths)])


def _agreement(measured: Mapping[float, Accuracies], lengths: Sequence[float]) -> Iterator[str]:
    """Rank correlations with the order at full length, that of the means of all seeds."""
    *shorter, last = lengths
    if not shorter:
        return
    whole = {method: fmean(values.values()) for method, values in measured[last].items()}
    for length in shorter:
        means = {method: fmean(values.values()) for method, values in measured[length].items()}
        by_seed = [correlation(_of_seed(measured[length], seed), whole) for seed in _seeds(measured[length])]
        text = _interval(estimate([each for each in by_seed if each is not None]))
        if (of_means := correlation(means, whole)) is not None:
            yield (
                f"* Rank correlation (Spearman) of {length:g} epochs with the means of {last:g}: {text} for one seed, "
                f"{of_means:.2f} for the means of all seeds."
            )
    pairs = combinations([_of_seed(measured[last], seed) for seed in _seeds(measured[last])], 2)
    between = [each for each in (correlation(*pair) for pair in pairs) if each is not None]
    if between:
        yield f"* Two seeds of {last:g} epochs agree with each other by {fmean(between):.2f} in the mean."


def _choosing(evidence: Evidence, measured: Mapping[float, Accuracies], lengths: Sequence[float]) -> Iterator[str]:
    """What is gained by choosing a method by these trainings, in seeds in which every method was trained in full."""
    *shorter, last = lengths
    tests = {method: evidence.tests("methods", _variant(method, last)) for method in measured[last]}
    of_seeds = {seed: _of_seed(measured[last], seed) for seed in _seeds(measured[last])}
    complete = {seed: full for seed, full in of_seeds.items() if full.keys() == tests.keys()}
    if BASELINE not in tests or len(tests) < FEWEST or not complete:
        return
    yield f"\nOf a method chosen by validation accuracy, test over {BASELINE} after {last:g} epochs, points:\n"
    for length, most in [*product(shorter, LEADERS), (last, 1)]:
        gains = []
        for seed, full in complete.items():
            trained = {method: value for method, value in _of_seed(measured[length], seed).items() if method in full}
            leaders = sorted(trained, key=lambda method: -trained[method])[:most]
            gains.append(tests[max(leaders, key=full.__getitem__)][seed] - tests[BASELINE][seed])
        leading = "the leader" if most == 1 else f"the best after {last:g} epochs of the {most} that lead"
        yield f"* {leading} after {length:g} epochs: {_interval(estimate(gains), signed=True)}"


def correlation(left: Mapping[str, float], right: Mapping[str, float]) -> float | None:
    """Spearman's rank correlation over the methods of both; None for fewer than three, or if all are equal."""
    common = sorted(left.keys() & right.keys())
    values = [[each[method] for method in common] for each in (left, right)]
    if len(common) < FEWEST or any(len(set(each)) == 1 for each in values):
        return None
    return float(spearmanr(*values).statistic)


def _accuracies(evidence: Evidence, length: float) -> Accuracies:
    found: dict[str, dict[int, float]] = {}
    for record in evidence.arm("methods"):
        if _length(record.run.variant) == length:
            method = record.run.variant.partition("/")[2].partition("@")[0]
            found.setdefault(method, {})[record.run.seed] = 100 * record.metrics["validation"]
    return found


def _variant(method: str, length: float) -> str:
    return f"{RANKED_STUDENT}/{method}@{length:g}"


def _length(variant: str) -> float:
    """Epochs of a training by its record's variant."""
    return float(variant.partition("@")[2])


def _seeds(measured: Accuracies) -> list[int]:
    return sorted({seed for values in measured.values() for seed in values})


def _of_seed(measured: Accuracies, seed: int) -> dict[str, float]:
    return {method: values[seed] for method, values in measured.items() if seed in values}


def _over_baseline(evidence: Evidence, method: str, length: float) -> str:
    """Test accuracy over that of the baseline, seed by seed."""
    own, baseline = (evidence.tests("methods", _variant(name, length)) for name in (method, BASELINE))
    over = evidence.difference(own, baseline)
    return "" if over is None or method == BASELINE else _interval(over, signed=True)


def _interval(found: Estimate | None, signed: bool = False) -> str:
    if found is None:
        return "unknown"
    sign = "+" if signed else ""
    interval = f" [{found.low:{sign}.2f}, {found.high:{sign}.2f}]" if found.n > 1 else ""
    return f"{found.mean:{sign}.2f}{interval}"


def _mean(values: Iterable[float]) -> str:
    found = estimate(list(values))
    if found is None:
        return "failed"
    return f"{found.mean:.2f}" + (f" ± {found.deviation:.2f}" if found.n > 1 else "")
