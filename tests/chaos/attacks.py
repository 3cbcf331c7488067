"""A search is struck again and again until it ends; after each fault and in the end the invariants are checked."""

import errno
import os
import signal
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import cycle, islice
from random import Random
from typing import NamedTuple

from chaos_records import Hit
from evidence import Evidence
from faults import FAULTS, Arena, Missed
from invariants import ALWAYS, AT_THE_END, difference, loss, orphans, violations
from stages import STAGES, Stage
from victims import Hung, Victim

__all__ = ["Outcome", "Planned", "attack", "plan"]

_SPANS = {"start": 6, "pruning": 2, "panel": 4, "outputs": 0.5, "trials": 6, "reference": 3, "training": 6, "export": 4}
"""Seconds that a stage lasts, roughly: a fault comes at a random instant of them."""
_AT_ONCE = 0.2
"""Share of faults after which the next one comes before the search has recorded anything."""
INTERRUPTED, REFUSED = 4, 2
"""Exit codes of a command that left a search which can be resumed, and of one that could not begin."""
MOST_COMPLAINTS = 3


class Planned(NamedTuple):
    """A fault to come, and the stage in which."""

    stage: Stage
    fault: str


class Outcome(NamedTuple):
    """What was done, and what was broken in the end; `hung` if the search did not end by itself."""

    hits: Sequence[Hit]
    broken: Sequence[str]
    hung: bool


def plan(faults: Collection[str], kills: int, chance: Random) -> list[Planned]:
    """Faults for one search, by stage: so many kills, spread over all stages, and each of the other faults once.

    Args:
        faults: Names of the faults.
        kills: Number of SIGKILLs.
        chance: Chooses among them.
    """
    killing = [FAULTS[name] for name in faults if FAULTS[name].kills]
    reached = [stage for stage in STAGES if any(stage in fault.stages for fault in killing)]
    stages = islice(cycle(chance.sample(reached, len(reached))), kills)
    planned = [
        Planned(stage, chance.choice([fault for fault in killing if stage in fault.stages]).name) for stage in stages
    ]
    others = [FAULTS[name] for name in faults if not FAULTS[name].kills]
    planned += [Planned(chance.choice(fault.stages), fault.name) for fault in others]
    chance.shuffle(planned)
    return sorted(planned, key=lambda each: STAGES.index(each.stage))


def attack(victim: Victim, arena: Arena, planned: Sequence[Planned], chance: Random, undisturbed: Evidence) -> Outcome:
    """Strike a search until it has ended.

    Args:
        victim: The search; it is begun.
        arena: What can fail around it.
        planned: The faults; those for which it ends too early are left out.
        chance: Chooses the moments.
        undisturbed: What the search leaves behind when nobody disturbs it.
    """
    hits: list[Hit] = []
    try:
        victim.start()
        for each in planned:
            if not _await(victim, arena, each, chance):
                break
            with suppress(Missed):
                _hit(victim, arena, each, chance, hits)
        _finish(victim, arena)
        return Outcome(hits, [*victim.complaints, *_verdict(victim, undisturbed)], hung=False)
    except Hung as error:
        return Outcome(hits, [*victim.complaints, f"{error}; {victim.last_words}"], hung=True)
    finally:
        victim.kill_all()


def _await(victim: Victim, arena: Arena, each: Planned, chance: Random) -> bool:
    """Wait for the moment of a fault; False if the search ends before."""
    if prepare := FAULTS[each.fault].prepare:
        prepare(victim, arena, chance)
    wanted = STAGES.index(each.stage)
    if victim.wait(lambda: STAGES.index(victim.stage) >= wanted):
        time.sleep(chance.uniform(0, _SPANS[each.stage]))
    return victim.is_running or _goes_on(victim, arena)


def _goes_on(victim: Victim, arena: Arena) -> bool:
    """Go on with a search whose controller is dead; False if it has ended well.

    Only a kill and a full disk may end a command early; anything else is a complaint.
    """
    if victim.code == 0:
        return False
    if victim.code != -signal.SIGKILL and not (arena.disk is not None and _tells_of_full_disk(victim)):
        victim.complaints.append(f"a command ended with exit code {victim.code}: {victim.last_words}")
    if len(victim.complaints) > MOST_COMPLAINTS:
        raise Hung("its commands end with errors again and again")
    victim.start()
    return True


def _tells_of_full_disk(victim: Victim) -> bool:
    """Whether a command ended as one does whose disk is full: interrupted, or refused with a line that says so."""
    said = ("writable and free", "make room", os.strerror(errno.ENOSPC))
    says_so = any(words in victim.last_words for words in said)
    return victim.code == INTERRUPTED or (victim.code == REFUSED and says_so)


def _hit(victim: Victim, arena: Arena, each: Planned, chance: Random, hits: list[Hit]) -> None:
    """Strike once, add that to the hits, and wait until the search has recovered."""
    before, stage = victim.evidence(), victim.stage
    FAULTS[each.fault].strike(victim, arena, chance)
    struck, is_dead = time.monotonic(), not victim.is_running
    broken = orphans(victim.mark) if is_dead and victim.code != 0 else []
    after = victim.evidence()
    broken += [f"loss: {line}" for line in loss(before, after)]
    broken += violations(after, ALWAYS) if after else []
    hits.append(Hit(each.fault, stage, None, broken))
    if is_dead:
        _goes_on(victim, arena)
        if chance.random() < _AT_ONCE:  # not after the loss of a worker: the third one fails its trial
            return
    news = victim.n_news
    victim.wait(lambda: victim.n_news > news)
    hits[-1] = Hit(each.fault, stage, round(time.monotonic() - struck, 1), broken)


def _finish(victim: Victim, arena: Arena) -> None:
    """Let a search end by itself."""
    while victim.wait(lambda: False) or _goes_on(victim, arena):
        pass


def _verdict(victim: Victim, undisturbed: Evidence) -> list[str]:
    """Invariants that a search has broken in the end."""
    evidence = victim.evidence()
    if evidence is None:
        return ["loss: the search is gone"]
    return [
        *violations(evidence, AT_THE_END),
        *(f"difference: {line}" for line in difference(evidence, undisturbed)),
        *(f"orphan: {line}" for line in orphans(victim.mark)),
    ]
