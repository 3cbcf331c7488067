"""One run: one peer on one task, on simulated workers, with everything a report needs to know of it."""

import math
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from peers import Peer, Proposal
from tasks import Measurement, Task

from workers.simulated import SimulatedCluster

__all__ = ["Shorter", "Trace", "search", "time_of"]


class Shorter(NamedTuple):
    """A training that ended below the top of the ladder, whether or not the point climbed on.

    Attributes:
        row: Number of the point in the task.
        rung: Where the training ended.
        value: What the peer was told.
        worth: What the point is worth when trained fully.
        finished: Simulated seconds at which it finished.
    """

    row: int
    rung: int
    value: float
    worth: float
    finished: float


@dataclass(frozen=True)
class Trace:
    """The trainings of one run, in the order in which they finished: the full ones by column, and the shorter ones.

    Attributes:
        rows: Numbers of the points in the task.
        values: What the peer was told, minus infinity for a point that breaks a limit.
        worths: What the points are worth: their means over all training seeds, which no peer sees; for one that breaks
            a limit the task's consolation.
        finished: Simulated seconds at which they finished.
        ask_seconds: CPU seconds for each proposal, in the order of the proposals; more than there are full trainings
            where some were stopped early.
        shorter: Trainings below the top of the ladder.
    """

    rows: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    worths: list[float] = field(default_factory=list)
    finished: list[float] = field(default_factory=list)
    ask_seconds: list[float] = field(default_factory=list)
    shorter: list[Shorter] = field(default_factory=list)


class _Training(NamedTuple):
    proposal: Proposal
    row: int
    rung: int
    below: int | None = None

    def higher(self) -> "_Training":
        return self._replace(rung=self.rung + 1, below=self.rung)


def search(task: Task, peer: Peer, evaluations: int, workers: int, rng: np.random.Generator) -> Trace:
    """A search with asynchronous workers: whenever one is free, the peer is asked, knowing all that has finished.

    A point that the peer keeps at a rung climbs to the next one on the same worker, and stays the same row of the task.

    Args:
        task: What is searched.
        peer: A peer at its start.
        evaluations: How many full trainings finish. With a ladder the search goes on for as long as so many take on
            average instead, since that is how peers that train fully and others are compared.
        workers: How many train at a time.
        rng: Draws the training seeds.
    """
    trace = Trace()
    cluster: SimulatedCluster[Measurement] = SimulatedCluster(workers, attrgetter("seconds"))
    begun: dict[int, _Training] = {}
    running: dict[Future[Measurement], _Training] = {}
    top = task.ladder.top

    def submit(training: _Training) -> None:
        running[cluster.submit(task.train, training.row, training.rung, training.below, rng)] = training

    while cluster.now < time_of(task, evaluations, workers) if top else len(trace.values) < evaluations:
        while cluster.has_free_worker and (top or len(trace.values) + len(running) < evaluations):
            proposal = _ask(peer, trace)
            begun[proposal.number] = _begin(proposal, task, begun, lowest=0 if peer.stops_early else top)
            submit(begun[proposal.number])
        ended = cluster.advance()
        training = running.pop(ended)
        _record(trace, task, training, ended.result(), cluster.now)
        number, rung = training.proposal.number, training.rung
        if rung == top or training.proposal.rung is not None:
            peer.tell(number, ended.result())
        elif peer.keeps(number, rung, ended.result().value):
            submit(training.higher())
    return trace


def time_of(task: Task, evaluations: int, workers: int) -> float:
    """Simulated seconds that so many full trainings of mean length take."""
    return evaluations * task.mean_seconds / workers


def _ask(peer: Peer, trace: Trace) -> Proposal:
    started = time.process_time()
    proposal = peer.ask()
    trace.ask_seconds.append(time.process_time() - started + peer.seconds_away)
    return proposal


def _begin(proposal: Proposal, task: Task, begun: Mapping[int, _Training], lowest: int) -> _Training:
    rung = lowest if proposal.rung is None else proposal.rung
    if proposal.after is not None:
        before = begun[proposal.after]
        return _Training(proposal, before.row, rung, before.rung)
    return _Training(proposal, task.row(proposal.params, {training.row for training in begun.values()}), rung)


def _record(trace: Trace, task: Task, training: _Training, measurement: Measurement, now: float) -> None:
    worth = float(task.worths[training.row])
    if training.rung < task.ladder.top:
        trace.shorter.append(Shorter(training.row, training.rung, measurement.value, worth, now))
        return
    trace.rows.append(training.row)
    trace.values.append(measurement.value if measurement.violation <= 0 else -math.inf)
    trace.worths.append(worth)
    trace.finished.append(now)
