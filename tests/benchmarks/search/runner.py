"""One run: one peer on one task, on simulated workers, with everything a report needs to know of it."""

import math
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from operator import attrgetter

import numpy as np
from peers import Peer, Proposal
from tasks import Measurement, Task

from workers.simulated import SimulatedCluster

__all__ = ["Trace", "incumbents", "search"]


@dataclass(frozen=True)
class Trace:
    """The full trainings of one run, in the order in which they finished.

    Attributes:
        values: What the peer was told, minus infinity for a point that breaks a limit.
        worths: What the points are worth: their means over all training seeds, which no peer sees; for one that breaks
            a limit the task's consolation.
        finished: Simulated seconds at which they finished.
        ask_seconds: CPU seconds of the process for each proposal, in the order of the proposals; more than there are
            full trainings where some were stopped early.
    """

    values: list[float] = field(default_factory=list)
    worths: list[float] = field(default_factory=list)
    finished: list[float] = field(default_factory=list)
    ask_seconds: list[float] = field(default_factory=list)


def search(task: Task, peer: Peer, evaluations: int, workers: int, rng: np.random.Generator) -> Trace:
    """A search with asynchronous workers: whenever one is free, the peer is asked, knowing all that has finished.

    A short training that the peer keeps goes on as a full one on the same worker.

    Args:
        task: What is searched.
        peer: A peer at its start.
        evaluations: How many full trainings finish.
        workers: How many train at a time.
        rng: Draws the training seeds.
    """
    trace = Trace()
    cluster: SimulatedCluster[Measurement] = SimulatedCluster(workers, attrgetter("seconds"))
    full: dict[Future[Measurement], Proposal] = {}
    short: dict[Future[Measurement], Proposal] = {}
    while len(trace.values) < evaluations:
        while cluster.has_free_worker and len(trace.values) + len(full) + len(short) < evaluations:
            proposal = _ask(peer, trace)
            if peer.stops_early:
                short[cluster.submit(task.evaluate_early, proposal.params)] = proposal
            else:
                full[cluster.submit(task.evaluate, proposal.params, rng)] = proposal
        ended = cluster.advance()
        if ended in short:
            proposal = short.pop(ended)
            if peer.keeps(proposal.number, ended.result().value):
                full[cluster.submit(task.evaluate, proposal.params, rng)] = proposal
        else:
            proposal = full.pop(ended)
            peer.tell(proposal.number, ended.result())
            _record(trace, task, proposal, ended.result(), cluster.now)
    return trace


def _ask(peer: Peer, trace: Trace) -> Proposal:
    started = time.process_time()
    proposal = peer.ask()
    trace.ask_seconds.append(time.process_time() - started)
    return proposal


def _record(trace: Trace, task: Task, proposal: Proposal, measurement: Measurement, now: float) -> None:
    trace.values.append(measurement.value if measurement.violation <= 0 else -math.inf)
    trace.worths.append(task.worth(proposal.params))
    trace.finished.append(now)


def incumbents(values: Sequence[float]) -> list[int]:
    """After each evaluation, which one a search would return: the best as observed, the first of equals."""
    found: list[int] = []
    for index, value in enumerate(values):
        found.append(index if not found or value > values[found[-1]] else found[-1])
    return found
