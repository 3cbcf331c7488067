"""Arm H: what a user would have drawn by hand, with the methods that are said to distil it best.

All pairs of student and method are trained briefly with the methods' own defaults; the best get some random settings
of the methods' own ranges; the best of these are trained in full. Everything is chosen by validation.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import optuna
from protocol import BY_HAND, Arm, Screening
from records import Record

from autokd.core.seeds import derive
from autokd.distillation import method_distributions
from search_spaces.spaces.blocks import DEEP_EARLY, MOBILENETV2, RESNET, RESNET_20

__all__ = [
    "EVERY_METHOD",
    "LEADING",
    "METHODS",
    "RANKED",
    "RANKED_STUDENT",
    "STARTS",
    "STUDENTS",
    "Pair",
    "best_pairs",
    "best_variant",
    "finalists",
    "pairs",
    "variants",
]


def _blocks(fixed: Mapping[str, Any], depths: Sequence[int], **options: Any) -> Arm:
    """Four stages of known blocks, of which only the widths are open.

    Args:
        fixed: Values of the dimensions of `blocks`.
        depths: Blocks of each stage, which replace its depths.
        options: Other values, and options of the space.
    """
    return Arm(spaces=("blocks",), ranges={**fixed, **_stages("depth", depths), **options})


def _stages(name: str, values: Sequence[Any]) -> dict[str, Any]:
    return {f"stage{stage}_{name}": value for stage, value in enumerate(values, 1)}


_SHUFFLENET = _stages("block", ["shuffle"] * 4) | _stages("ratio", [1.0] * 4)
_CONVNEXT = _stages("block", ["convnext"] * 4) | _stages("ratio", [1.0] * 4)

STUDENTS: Mapping[str, Arm] = {
    "like-teacher": Arm(spaces=("like-teacher",)),
    "resnet-1-1-1-1": BY_HAND,
    "resnet-2-2-2-2": _blocks(RESNET, (2, 2, 2, 2), head_ratio=0),
    "resnet-3-3-3": _blocks(RESNET_20, (3, 3, 3, 0), head_ratio=0),  # as drawn for small images
    "mobilenet-v2": _blocks(MOBILENETV2, (1, 2, 3, 2), stage1_expansion=1),  # as published in its first stage
    "shufflenet-v2": _blocks(_SHUFFLENET, (1, 2, 4, 2)),
    "convnext": _blocks(_CONVNEXT, (1, 1, 3, 1)),
}
"""Students whose widths are solved for the limits."""

_RESIDUAL: Mapping[str, Arm] = {
    **{name: STUDENTS[name] for name in ("resnet-1-1-1-1", "resnet-3-3-3")},
    "deep-early": _blocks(DEEP_EARLY, (3, 4, 1, 0), head_ratio=0),
}
STARTS: Mapping[str, Arm] = {
    **_RESIDUAL,
    "slim-copy": Arm(spaces=("like-teacher",), from_teacher=True),
    **{f"{name}-strided": replace(student, stem="strided") for name, student in _RESIDUAL.items()},
    "deep-early-narrow": replace(_RESIDUAL["deep-early"], stem="narrow"),
}
"""Networks with which a search begins: residual ones, and the slim copy with what fits of the teacher's weights."""

METHODS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "none": ("kd", {"weight": 0.0}),
    **{
        name: (name, {})
        for name in (
            "kd",
            "dkd",
            "dist",
            "nkd",
            "bd-kd",
            "fitnet",
            "at",
            "rkd",
            "sp",
            "reviewkd",
            "crd",
            "kd+crd",
            "standardise+kd",
            "ctkd+kd",
            "continuation",
        )
    },
}
"""The methods of arm H and their settings beside their own defaults."""

_LATER = ("abkd", "crld", "dml", "ldrld", "mlld", "multi-step", "rld", "sld", "ttm", "wttm")
_IN_TURN = ("fitnet>kd", "sp>kd", "dist>kd", "continuation>kd")
EVERY_METHOD: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    **METHODS,
    **{name: (name, {}) for name in (*_LATER, *_IN_TURN)},
}
"""The methods of arm H, others that came after it was fixed, and some in turn."""
RANKED = tuple(name for name in EVERY_METHOD if name not in ("at", "rkd", "reviewkd", "crd", "kd+crd", "crld"))
"""Methods that are ranked: but for those with FitNet or SP, a step costs no more than twice KD's."""
LEADING = ("ldrld", "abkd", "bd-kd")
"""Methods that are before KD in two seeds of that ranking and take as long; SP takes three times as long.

Do they help the networks with which a search begins?
"""
RANKED_STUDENT = "resnet-1-1-1-1"
"""The student by which they are ranked, the quickest to train."""


@dataclass(frozen=True, order=True)
class Pair:
    """A student and a method with one setting.

    Attributes:
        student: Key of `STUDENTS` or `STARTS`.
        method: Key of `EVERY_METHOD`.
        setting: Number of the random setting, from 1; 0 for the defaults.
    """

    student: str
    method: str
    setting: int = 0

    @property
    def text(self) -> str:
        """The pair as a record's variant."""
        return f"{self.student}/{self.method}" + (f"#{self.setting}" if self.setting else "")

    @classmethod
    def of(cls, text: str) -> "Pair":
        """The pair of a record's variant."""
        student, _, rest = text.partition("/")
        method, _, setting = rest.partition("#")
        return cls(student, method, int(setting or 0))

    @property
    def settings(self) -> dict[str, Any]:
        """The method's hyper-parameters that are not its defaults."""
        name, given = EVERY_METHOD[self.method]
        if not self.setting:
            return dict(given)
        sampler = optuna.samplers.RandomSampler(derive("headline", self.text) % 2**32)
        trial = optuna.create_study(sampler=sampler).ask(dict(method_distributions(name)))
        return {**trial.params, **given}


def pairs() -> list[Pair]:
    """All students with all methods at their defaults."""
    return [Pair(student, method) for student in STUDENTS for method in METHODS]


def best_pairs(screened: Collection[Record], screening: Screening) -> list[Pair]:
    """The pairs of highest validation accuracy, the best first."""
    ranked = sorted(screened, key=lambda record: (-_validation(record), record.run.variant))
    return [Pair.of(record.run.variant) for record in ranked[: screening.best] if record.metrics]


def variants(best: Collection[Pair], screening: Screening) -> Iterator[Pair]:
    """The random settings of the best pairs; training without a teacher has none."""
    for pair in best:
        if pair.method != "none":
            yield from (Pair(pair.student, pair.method, number) for number in range(1, screening.settings + 1))


def finalists(tried: Collection[Record], best: Collection[Pair], screening: Screening) -> list[Pair]:
    """The best of these pairs, each with its best setting, the best first.

    Args:
        tried: Records of the pairs at their defaults and at random settings.
        best: The pairs among which to choose.
        screening: How many there are.
    """
    winners: dict[tuple[str, str], Record] = {}
    wanted = {(pair.student, pair.method) for pair in best}
    for record in sorted(tried, key=lambda record: (-_validation(record), record.run.variant)):
        pair = Pair.of(record.run.variant)
        if (pair.student, pair.method) in wanted and record.metrics:
            winners.setdefault((pair.student, pair.method), record)
    return [Pair.of(record.run.variant) for record in list(winners.values())[: screening.finalists]]


def best_variant(records: Collection[Record]) -> str | None:
    """The variant of highest mean validation accuracy; None without records."""
    by_variant: dict[str, list[float]] = {}
    for record in records:
        by_variant.setdefault(record.run.variant, []).append(record.metrics.get("validation", 0.0))
    if not by_variant:
        return None
    return max(by_variant, key=lambda variant: (fmean(by_variant[variant]), variant))


def _validation(record: Record) -> float:
    return record.metrics.get("validation", float("-inf"))
