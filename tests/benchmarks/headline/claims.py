"""The claims S1 to S7 with the rules by which each is marked, before anything was measured.

Accuracies are in percent here, and differences in points. Differences are paired by seed.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import hand_drawn
from protocol import ARMS, LARGE, LONGER, PROTOCOLS
from records import Record

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where benchmarks keep what they share

from intervals import Estimate, between_share, brier, estimate

__all__ = ["NOT_MEASURED", "Claim", "Evidence", "claims"]

NOT_MEASURED = "not measured yet"
REACHED, WITHIN_HALF, NOT_REACHED = "reached", "within half a point", "not reached"
HOLDS, LEVEL, REPORTED = "holds", "level", "reported"
NOT_JUDGED = "T1"  # its teacher saw ImageNet, which no student of the data set can make up for: parity is reported only
PARITY, HALF_A_POINT = -0.25, -0.5
FEWEST_SEEDS = 3  # below it an interval says nothing
MOSTLY_BETWEEN = 0.5
PRODUCTS = ("A", "A+", "A+w", "A+s", "A+n")
"""The product with the space of its paper, and with those that it searches by default."""


@dataclass(frozen=True)
class Claim:
    """A claim and what was measured for it.

    Attributes:
        name: S1 to S7, or `P(best)`.
        data: Name of the protocol.
        number: What is measured.
        value: What came out, in words and figures; empty if nothing did.
        mark: By the claim's rule.
    """

    name: str
    data: str
    number: str
    value: str
    mark: str


@dataclass(frozen=True)
class Evidence:
    """The records of one data set.

    Attributes:
        data: Name of the protocol.
        records: Its records, of one setting of each run.
    """

    data: str
    records: Sequence[Record]

    def arm(self, name: str, variant: str | None = None) -> list[Record]:
        """Records of an arm that have a student."""
        return [record for record in self._of(name, variant) if record.metrics]

    def failed(self, name: str, variant: str | None = None) -> list[Record]:
        """Records of an arm that have no student."""
        return [record for record in self._of(name, variant) if not record.metrics]

    def _of(self, name: str, variant: str | None) -> Iterator[Record]:
        arm = (record for record in self.records if record.run.arm == name)
        return (record for record in arm if variant in (None, record.run.variant))

    def tests(self, name: str, variant: str | None = None) -> dict[int, float]:
        """Test accuracy of each seed, in percent."""
        records = self.arm(name, variant)
        return {record.run.seed: 100 * record.metrics["test"] for record in records if "test" in record.metrics}

    def best_hand_drawn(self) -> str | None:
        """The pair of student and method that is best by mean validation accuracy over all its seeds."""
        return hand_drawn.best_variant([record for record in self.records if record.run.arm == "H"])

    def difference(self, first: Mapping[int, float], second: Mapping[int, float]) -> Estimate | None:
        """First minus second, seed by seed."""
        return estimate([first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())])


def claims(evidence: Evidence) -> list[Claim]:
    """All claims on one data set, marked."""
    return [*_families(evidence), *_joint(evidence), *_efficiency(evidence), *_parity(evidence), *_hand_drawn(evidence)]


def _parity(evidence: Evidence) -> Iterator[Claim]:
    teacher = {record.run.seed: 100 * record.teacher["test"] for record in evidence.records if record.teacher}
    longer = LONGER if PROTOCOLS[evidence.data].long else ()
    for name in (*_products(evidence.data), *longer):
        found = evidence.difference(evidence.tests(name), teacher)
        fits = [_fits(record) for record in evidence.arm(name)]
        mark = _parity_mark(found, all(fits))
        if mark != NOT_MEASURED and evidence.data == NOT_JUDGED:
            mark = REPORTED
        beyond = "" if all(fits) else f"{fits.count(False)} of {len(fits)} students exceed 1/10 or 1/3"
        yield Claim(
            "S5",
            evidence.data,
            f"{name} - teacher at 1/10 of its parameters and 1/3 of its memory",
            _joined(_text(found), beyond, _failed_seeds(evidence, name)),
            mark,
        )


def _parity_mark(found: Estimate | None, fits: bool) -> str:
    """By the lower end of the interval and by the mean, if all students fit."""
    if not _is_enough(found) or found is None:
        return NOT_MEASURED
    if not fits:
        return NOT_REACHED
    if found.low >= PARITY:
        return REACHED
    return WITHIN_HALF if found.mean >= HALF_A_POINT else NOT_REACHED


def _fits(record: Record) -> bool:
    """Whether a student has at most a tenth of the teacher's parameters, and a third of its activations and memory."""
    shares = {"params": 10, "activation_bytes": 3, "memory_bytes": 3}
    return all(
        record.cost[name] * share <= record.teacher[name] for name, share in shares.items() if record.teacher.get(name)
    )


def _hand_drawn(evidence: Evidence) -> Iterator[Claim]:
    best = evidence.best_hand_drawn()
    n_pairs = sum(record.run.arm in ("H-screen", "H-tune") for record in evidence.records)
    name = f"best H ({best}, of {n_pairs} trainings of pairs)" if best else "best H"
    for product in _products(evidence.data):
        yield _compared("S6", evidence, product, "H", best, name)
    for other in ("TB-random", "TB-evolution"):
        yield _compared("S7", evidence, "TR", other)
    yield _compared("S7", evidence, "TR", "H", best, name)


def _products(data: str) -> Sequence[str]:
    return [name for name in PRODUCTS if data in LARGE or ARMS[name].stem == "pooled"]


def _joint(evidence: Evidence) -> Iterator[Claim]:
    for other in ("E", "C2"):
        yield _compared("S2", evidence, "A", other)
    for dimension in ("temperature", "weight"):
        shares = [
            100 * record.found["importances"].get(dimension, 0.0)
            for record in evidence.arm("A")
            if record.found.get("importances")
        ]
        found = estimate(shares)
        value = _joined(_text(found), _failed_seeds(evidence, "A"))
        yield Claim("S2", evidence.data, f"importance of {dimension}, % of the variance", value, _above_zero(found))


def _efficiency(evidence: Evidence) -> Iterator[Claim]:
    for other in ("B", "A-t"):
        yield _compared("S3", evidence, "A", other)
    own, peers = evidence.arm("A"), evidence.arm("V")
    number = "images that evolution over single graphs needs for A's validation accuracy, over A's"
    failures = [_failed_seeds(evidence, name) for name in ("A", "V")]
    if not own or not peers:
        yield Claim("S3", evidence.data, number, _joined(*failures), NOT_MEASURED)
        return
    wanted = median(record.metrics["validation"] for record in own)
    images = fmean(record.search_images for record in own)
    needed, tried = [], []
    for seed in sorted({record.run.seed for record in peers}):
        of_seed = sorted((r.search_images, r.metrics["validation"]) for r in peers if r.run.seed == seed)
        good = [spent / images for spent, validation in of_seed if validation >= wanted]
        needed += good[:1]
        tried += [] if good else [of_seed[-1][0] / images]
    values = [f"{min(needed):.1f} to {max(needed):.1f} times"] if needed else []
    values += [f">= {min(tried):.1f} times for {len(tried)} that never reached it"] if tried else []
    value = f"{'; '.join(values)}, n = {len(needed) + len(tried)}"
    yield Claim("S3", evidence.data, number, _joined(value, *failures), REPORTED)


def _families(evidence: Evidence) -> Iterator[Claim]:
    yield _variance(evidence)
    for other in ("K-nago", "K-randwire"):
        yield _compared("S1", evidence, "A", other)
    yield _compared("S1", evidence, "C2", "C1")
    members = estimate([100 * record.metrics["test"] for record in evidence.arm("draws")])
    value = f"{members.mean:.2f} ± {members.deviation:.2f} %, n = {members.n}" if members and members.n > 1 else ""
    mark = REPORTED if value else NOT_MEASURED
    value = _joined(value, _failed_draws(evidence, "draws"))
    yield Claim("S1", evidence.data, "draws of A's best family in full", value, mark)
    yield _probability(evidence)


def _variance(evidence: Evidence) -> Claim:
    """How much families differ, once as many draws of each were trained; those that failed are left out."""
    groups: dict[str, list[float]] = {}
    for record in evidence.arm("families"):
        groups.setdefault(_family(record), []).append(100 * record.metrics["validation"])
    drawn = Counter(_family(record) for record in (*evidence.arm("families"), *evidence.failed("families")))
    sizes, failures = {*drawn.values()}, _failed_draws(evidence, "families")
    number = "variance between families / total, of short trainings with one distillation"
    if len(groups) < 2 or len(sizes) > 1 or max(map(len, groups.values())) < 2:
        return Claim("S1", evidence.data, number, failures, NOT_MEASURED)
    share = between_share(list(groups.values()))
    mark = HOLDS if share > MOSTLY_BETWEEN else "families differ no more than their members do"
    value = f"{share:.2f}, {len(drawn)} families x {sizes.pop()} draws"
    return Claim("S1", evidence.data, number, _joined(value, failures), mark)


def _family(record: Record) -> str:
    """The family whose draw it is."""
    return record.run.variant.partition("/")[0]


def _probability(evidence: Evidence) -> Claim:
    scores, baseline = [], 0.0
    for record in evidence.arm("A"):
        trained = {
            other.run.variant: other.metrics["validation"]
            for other in evidence.arm("top")
            if other.run.seed == record.run.seed
        }
        believed = [family["probability_best"] for family in record.found.get("families", [])]
        values = [trained.get(f"family-{number}") for number in range(len(believed))]
        if believed and None not in values:
            known = [value for value in values if value is not None]
            winner = known.index(max(known))
            scores.append(brier(believed, winner))
            baseline = brier([1.0] * len(believed), winner)
    number = "Brier score of the probabilities of being best"
    failures = [_failed_seeds(evidence, name) for name in ("A", "top")]
    if len(scores) < FEWEST_SEEDS:
        return Claim("P(best)", evidence.data, number, _joined(*failures), NOT_MEASURED)
    mean = fmean(scores)
    mark = HOLDS if mean < baseline else NOT_REACHED
    value = f"{mean:.3f}, equal ones {baseline:.3f}, n = {len(scores)}"
    return Claim("P(best)", evidence.data, number, _joined(value, *failures), mark)


def _compared(
    name: str, evidence: Evidence, first: str, second: str, variant: str | None = None, label: str = ""
) -> Claim:
    """An arm minus another one, or one variant of it."""
    found = evidence.difference(evidence.tests(first), evidence.tests(second, variant))
    failures = _failed_seeds(evidence, first), _failed_seeds(evidence, second, variant)
    number = f"{first} - {label or second}"
    return Claim(name, evidence.data, number, _joined(_text(found), *failures), _above_zero(found))


def _above_zero(found: Estimate | None) -> str:
    """Above 0 holds, containing 0 is level, below 0 is not reached."""
    if not _is_enough(found) or found is None:
        return NOT_MEASURED
    if found.low > 0:
        return HOLDS
    return NOT_REACHED if found.high < 0 else LEVEL


def _is_enough(found: Estimate | None) -> bool:
    return found is not None and found.n >= FEWEST_SEEDS


def _text(found: Estimate | None) -> str:
    return "" if found is None else found.text


def _failed_seeds(evidence: Evidence, name: str, variant: str | None = None) -> str:
    """With how many seeds an arm failed, in words; empty if with none."""
    count = len({record.run.seed for record in evidence.failed(name, variant)})
    return f"{count} seed{'s' if count > 1 else ''} of {name} failed" if count else ""


def _failed_draws(evidence: Evidence, study: str) -> str:
    count = len(evidence.failed(study))
    return f"{count} draw{'s' if count > 1 else ''} failed" if count else ""


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))
