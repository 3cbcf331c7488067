"""What there is to run: all runs of some arms, which of them may start, and how many images they train on."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import hand_drawn
from hand_drawn import EVERY_METHOD, LEADING, RANKED, RANKED_STUDENT, STARTS, STUDENTS, Pair
from protocol import ARMS, LARGE, LONGER, PROTOCOLS, Arm, Protocol, digest
from records import Record, Run
from searching import search
from trainings import Training, best_of_random, draw, failed, folder_of, random_family, train
from workbench import Workbench

from autokd.errors import InputError
from autokd.searches.references import LIKE_TEACHER
from search_spaces.architecture.format import Architecture
from search_spaces.errors import SpaceError

__all__ = ["KNOWN", "Job", "jobs", "settings_of"]

KNOWN = ("P", *ARMS, "H", "S", *LONGER, "top", "families", "draws", "methods")
"""Arms and studies in the order in which they are worth most."""

MOST_IMAGES = 5  # of arm V, as a multiple of the others'
FLOOR = Arm(ranges=ARMS["A"].ranges)  # arm P
STUDIED_SEED = 0  # whose search by arm A gives the families of the studies, whichever seeds a process is asked for

Records = Mapping[Run, Record]
Decisive = tuple[object, ...]  # what decides a run beside the training of its protocol
Found = Mapping[str, Any]  # what a search found, or a part of it


@dataclass(frozen=True)
class Job:
    """A run with what it does.

    Attributes:
        run: The run.
        epochs: Epochs that it trains, at most.
        folder: Folder of what it needs to go on after it was killed.
        perform: Does it; None if it has to wait.
        waits_for: For what it has to wait.
    """

    run: Run
    epochs: float
    folder: str
    perform: Callable[[], Record] | None
    waits_for: str = ""


def jobs(
    bench: Workbench, arms: Collection[str], seeds: Sequence[int], records: Records, quick: bool = False
) -> list[Job]:
    """All runs of these arms and seeds, done or not, in the order in which they should be done.

    Args:
        bench: Data set and protocol.
        arms: Names out of `KNOWN`.
        seeds: Seeds.
        records: What is done, on which some runs depend.
        quick: Whether arm H leaves out random settings of the methods.
    """
    planner = _Planner(bench, seeds, records, quick)
    each = [job for seed in seeds for arm in arms if arm in _EACH_SEED for job in _EACH_SEED[arm](planner, arm, seed)]
    once = [job for arm in arms if arm in _ONCE for job in _ONCE[arm](planner)]
    return [*each, *once]


def settings_of(protocol: Protocol, arm: str, variant: str) -> str | None:
    """Digest of the settings of a run of this protocol; None of an arm, student or method that it does not know.

    Args:
        protocol: The protocol.
        arm: Name of the arm, or of a step of arm H, or of a study.
        variant: Which of its trainings.
    """
    decisive: dict[str, Decisive] = {
        **{name: (searched,) for name, searched in ARMS.items()},
        **{name: (ARMS[searched], protocol.long) for name, searched in LONGER.items()},
        "P": (FLOOR, protocol.random_families),
        "top": (ARMS["A"], protocol.final),
        "families": (ARMS["A"], protocol.study.epochs),
        "draws": (ARMS["A"], protocol.final),
    }
    found = decisive.get(arm) or _of_pair(protocol, arm, variant)
    return None if found is None else digest(protocol, *found)


def _of_pair(protocol: Protocol, arm: str, variant: str) -> Decisive | None:
    """What decides the training of a hand-designed student by a method; None if something of these is not known."""
    short, full = protocol.screening.epochs, protocol.final
    variant, _, length = variant.partition("@")
    of_arm = {"H-screen": short, "H-tune": short, "H": full, "S": full, "methods": float(length or full)}
    pair = Pair.of(variant)
    student = (STUDENTS | STARTS).get(pair.student)
    if arm not in of_arm or student is None or pair.method not in EVERY_METHOD:
        return None
    return student, [EVERY_METHOD[pair.method][0], pair.settings, of_arm[arm]]


@dataclass(frozen=True)
class _Planner:
    bench: Workbench
    seeds: Sequence[int]
    records: Records
    quick: bool

    @property
    def protocol(self) -> Protocol:
        return self.bench.protocol

    def search(self, name: str, seed: int) -> Iterator[Job]:
        """A searching arm."""
        arm, run = ARMS[name], self.run(name, "", seed)
        folder = arm.search or name
        if self._differs(arm) and (arm.seeds is None or seed < arm.seeds):
            epochs = self._epochs_of_a_search(arm.images)
            yield Job(run, epochs, folder, partial(search, self.bench, run, arm, folder))

    def evolution(self, name: str, seed: int) -> Iterator[Job]:
        """Arm V: one search that goes on, with a line for each multiple of A's images until it is as good as A."""
        arm, wanted, before = ARMS[name], self._median_of_a(), None
        if wanted is None:
            yield self._waiting(name, "1x", seed, self._epochs_of_a_search(), "arm A with all seeds")
            return
        for times in range(1, MOST_IMAGES + 1):
            run = self.run(name, f"{times}x", seed)
            perform = partial(search, self.bench, run, replace(arm, images=times), name)
            is_next = before is None or before in self.records
            epochs, waits_for = self._epochs_of_a_search(), f"arm {name} with fewer images"  # the search goes on
            yield Job(run, epochs, name, perform if is_next else None, waits_for)
            if run in self.records and self.records[run].metrics.get("validation", 0.0) >= wanted:
                return
            before = run

    def floor(self, name: str, seed: int) -> Iterator[Job]:
        """Arm P."""
        run = self.run(name, "", seed)
        epochs = self.protocol.random_families * self.protocol.rungs[-1] + self.protocol.final
        yield Job(run, epochs, folder_of(run), partial(best_of_random, self.bench, run, FLOOR))

    def starts(self, name: str, seed: int) -> Iterator[Job]:
        """Arm S: networks with which a search begins, trained in full without one; the best of them by further methods.

        On large images FitNet is one of these, where it is the best method of arm H.
        """
        for student, arm in STARTS.items():
            if self._differs(arm):
                yield self._pair(name, Pair(student, "kd"), seed, self.protocol.final)
        is_large = self.bench.name in LARGE
        best = "deep-early-strided" if is_large else "slim-copy"
        for method in ("fitnet", *LEADING) if is_large else LEADING:
            yield self._pair(name, Pair(best, method), seed, self.protocol.final)

    def _differs(self, arm: Arm) -> bool:
        """Whether an arm is another one than that with a pooled stem, which images of this size may not reach."""
        return arm.stem == "pooled" or self.bench.name in LARGE

    def long(self, name: str, seed: int) -> Iterator[Job]:
        """Arms L and L+w: the student that another arm found, trained longer."""
        if self.protocol.long:
            yield self._again(name, "", seed, self.protocol.long, lambda found: found, LONGER[name])

    def top(self, name: str, seed: int) -> Iterator[Job]:
        """The best families of arm A, trained in full, to see whether the model knew which would win."""
        for number in range(self._n_best(seed, self.protocol.study.top)):
            yield self._again(name, f"family-{number}", seed, self.protocol.final, partial(_nth, number))

    def hand_drawn(self) -> Iterator[Job]:
        """Arm H: screening, tuning, and the finalists."""
        if self.bench.name == "F-full":
            yield from self._best_of_subset()
            return
        screening = self.protocol.screening
        screens = [self._pair("H-screen", pair, screening.seed, screening.epochs) for pair in hand_drawn.pairs()]
        screened = self._done(screens)
        best = hand_drawn.best_pairs(screened, screening) if len(screened) == len(screens) else []
        tunes = [] if self.quick else self._tunes(best)
        yield from (*screens, *tunes)
        tried = [*screened, *self._done(tunes)]
        is_chosen = best and len(tried) == len(screens) + len(tunes)
        chosen = hand_drawn.finalists(tried, best, screening) if is_chosen else []
        for seed in self.seeds:
            for number in range(len(chosen) or screening.finalists):
                if chosen:
                    yield self._pair("H", chosen[number], seed, self.protocol.final)
                else:
                    yield self._waiting("H", f"{number}", seed, self.protocol.final, "H-screen and H-tune")

    def families(self) -> Iterator[Job]:
        """Draws of the best and of random families with one distillation, for the variance between families."""
        study = self.protocol.study
        kinds = {
            "best": (self._n_best(STUDIED_SEED, study.best), _best_family),
            "random": (study.random, self._random_family),
        }
        for kind, (count, family) in kinds.items():
            for number in range(count):
                for member in range(study.draws):
                    yield self._drawn("families", f"{kind}-{number}/{member}", study.epochs, partial(family, number))

    def draws(self) -> Iterator[Job]:
        """Draws of the family that won, trained in full."""
        for number in range(self.protocol.study.members):
            yield self._drawn("draws", f"draw-{number}", self.protocol.final, _winning_family)

    def methods(self, name: str, seed: int) -> Iterator[Job]:
        """One student by all methods at their defaults, as long as the rungs of a search and in full."""
        for epochs in sorted({*self.protocol.rungs, self.protocol.final}):
            for method in RANKED:
                yield self._pair(name, Pair(RANKED_STUDENT, method), seed, epochs, f"@{epochs:g}")

    def run(self, arm: str, variant: str, seed: int) -> Run:
        """A run with its settings, which are not known as long as its variant is not."""
        return Run(self.bench.name, arm, variant, seed, settings_of(self.protocol, arm, variant) or "")

    def _pair(self, arm: str, pair: Pair, seed: int, epochs: float, length: str = "") -> Job:
        student, method = (STUDENTS | STARTS)[pair.student], EVERY_METHOD[pair.method]
        run = self.run(arm, pair.text + length, seed)

        def perform() -> Record:
            problem = self.bench.space(student)
            try:
                ratios = dict.fromkeys(problem.space.distributions(), 1.0)  # of the teacher's copy; others have none
                architecture = draw(self.bench, student, ratios, "H")
            except (InputError, SpaceError) as error:  # a teacher that cannot be copied, or limits that are too tight
                return failed(self.bench, run, error)
            tested, inherits = epochs == self.protocol.final, student.from_teacher
            training = Training(architecture, method[0], pair.settings, epochs, tested, inherits)
            return train(self.bench, run, training)

        return Job(run, epochs, folder_of(run), perform)

    def _tunes(self, best: Sequence[Pair]) -> list[Job]:
        """Random settings of the best pairs, which are not known before all pairs are screened."""
        screening = self.protocol.screening
        if best:
            pairs = hand_drawn.variants(best, screening)
            return [self._pair("H-tune", pair, screening.seed, screening.epochs) for pair in pairs]
        return [
            self._waiting("H-tune", f"{number}", screening.seed, screening.epochs, "H-screen")
            for number in range(screening.best * screening.settings)
        ]

    def _waiting(self, arm: str, variant: str, seed: int, epochs: float, waits_for: str) -> Job:
        run = self.run(arm, f"({variant})", seed)
        return Job(run, epochs, folder_of(run), None, waits_for)

    def _again(
        self, name: str, variant: str, seed: int, epochs: float, choose: Callable[[Found], Found], arm: str = "A"
    ) -> Job:
        """A student that an arm found, trained anew with its distillation, from the same first weights."""
        run = self.run(name, variant, seed)
        found = self._found(seed, arm)
        if found is None:
            return Job(run, epochs, folder_of(run), None, f"arm {arm}, seed {seed}")
        chosen = choose(found)

        def perform() -> Record:
            architecture = Architecture.from_dict(dict(chosen["architecture"]))
            is_copy = found["description"].startswith(f"{LIKE_TEACHER}:")  # as where several spaces are searched
            inherits = ARMS[arm].from_teacher and is_copy
            return train(
                self.bench, run, Training(architecture, "kd", chosen["distillation"], epochs, from_teacher=inherits)
            )

        return Job(run, epochs, folder_of(run), perform)

    def _drawn(self, arm: str, variant: str, epochs: float, family: Callable[[Found], Found]) -> Job:
        """A draw of a family, with the distillation of arm A's winner."""
        run = self.run(arm, variant, STUDIED_SEED)
        found = self._found(STUDIED_SEED)
        if found is None:
            return Job(run, epochs, folder_of(run), None, f"arm A, seed {STUDIED_SEED}")

        def perform() -> Record:
            try:
                architecture = draw(self.bench, ARMS["A"], family(found), arm, variant)
            except SpaceError as error:  # not every member of a family that fits has to
                return failed(self.bench, run, error)
            training = Training(architecture, "kd", found["distillation"], epochs, tested=arm == "draws")
            return train(self.bench, run, training)

        return Job(run, epochs, folder_of(run), perform)

    def _random_family(self, number: int, found: Found) -> Found:
        return random_family(self.bench, ARMS["A"], "random family", number)

    def _n_best(self, seed: int, most: int) -> int:
        """Number of arm A's best families to study: `most`, or all that it found."""
        found = self._found(seed)
        return most if found is None else min(most, len(found["families"]))

    def _found(self, seed: int, arm: str = "A") -> Found | None:
        """What an arm found with this seed; None until it is done."""
        record = self.records.get(self.run(arm, "", seed))
        return record.found if record and record.metrics else None

    def _median_of_a(self) -> float | None:
        """Median validation accuracy of arm A over all its seeds; None before those that are asked for are done."""
        of_a = self.run("A", "", 0)
        done = {run.seed: record for run, record in self.records.items() if replace(run, seed=0) == of_a}
        values = [record.metrics["validation"] for record in done.values() if record.metrics]
        return median(values) if values and done.keys() >= {*self.seeds} else None

    def _epochs_of_a_search(self, times: int = 1) -> float:
        """Epochs of a search of so many times the protocol's images, and of the full training of what it finds."""
        return times * self.protocol.search_epochs + self.protocol.final

    def _best_of_subset(self) -> Iterator[Job]:
        """The hand-designed student that is best on F by validation, trained on all samples."""
        small = replace(self.bench, name="F", protocol=PROTOCOLS["F"])
        planner = replace(self, bench=small, seeds=range(small.protocol.seeds))
        full = [job for job in planner.hand_drawn() if job.run.arm == "H"]
        done = self._done(full)
        for seed in self.seeds:
            if done and len(done) == len(full):
                yield self._pair("H", Pair.of(hand_drawn.best_variant(done)), seed, self.protocol.final)
            else:
                yield self._waiting("H", "best of F", seed, self.protocol.final, "arm H on F")

    def _done(self, jobs: Collection[Job]) -> list[Record]:
        return [self.records[job.run] for job in jobs if job.run in self.records]


def _nth(number: int, found: Found) -> Found:
    """One of the best families that a search found."""
    return dict(found["families"][number])


def _best_family(number: int, found: Found) -> Found:
    """Parameters of one of the best families that a search found."""
    return dict(_nth(number, found)["family"])


def _winning_family(found: Found) -> Found:
    """Parameters of the family whose student the search trained in full.

    It is the best that reached the last rung, so others may be listed before it; the first one is taken if it is not
    listed.
    """
    families = found["families"]
    winners = [each for each in families if each.get("architecture") == found["architecture"]]
    return dict((winners or families)[0]["family"])


_EACH_SEED: Mapping[str, Callable[[_Planner, str, int], Iterator[Job]]] = {
    **dict.fromkeys(ARMS, _Planner.search),
    "V": _Planner.evolution,
    "P": _Planner.floor,
    "S": _Planner.starts,
    **dict.fromkeys(LONGER, _Planner.long),
    "top": _Planner.top,
    "methods": _Planner.methods,
}
_ONCE: Mapping[str, Callable[[_Planner], Iterator[Job]]] = {
    "H": _Planner.hand_drawn,
    "families": _Planner.families,
    "draws": _Planner.draws,
}
