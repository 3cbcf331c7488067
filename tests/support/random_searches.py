"""Recorded searches of which everything is left to chance: states, rungs, metrics, retrainings and references."""

import random
from collections.abc import Sequence
from typing import Any, Literal

from autokd.database.lease import Lease
from autokd.database.rows import Purpose, TrialRow
from autokd.database.store import Store

__all__ = ["record_randomly"]

RUNGS = (1.0, 3.0, 9.0)


def record_randomly(store: Store, lease: Lease, seed: int, trials: int = 12, students: int = 2) -> None:
    """Record trials of which some run, some failed and some were trained at full length, and two references.

    Args:
        store: The database.
        lease: Lease of the search, which has no trial yet.
        seed: Seed of chance.
        trials: Number of trials.
        students: Number of students of each.
    """
    chance = random.Random(seed)
    for number, reference in [(-1, "resnet"), (-2, "no-teacher"), *((number, None) for number in range(trials))]:
        trial = store.open_trial(lease, number, {"x": number}, reference)
        rung = chance.randrange(-1, len(RUNGS))
        for replicate in range(students):
            _train(store, lease, chance, trial, replicate, "search", RUNGS[: rung + 1])
        if chance.random() < 0.2:
            lengths = [chance.choice([20.0, 30.0]) for _ in range(chance.randrange(3))]
            _train(store, lease, chance, trial, 0, "final", lengths)
        ends: list[Literal["complete", "pruned", "failed"]] = ["failed", "complete", "pruned"]
        if chance.random() < 0.7:
            state = chance.choice(ends if rung >= 0 else ends[:1])
            value = None if state == "failed" else chance.random()
            store.finish_trial(lease, trial.id, state, value, rung=None if rung < 0 else rung, seconds=1.0)


def _train(
    store: Store,
    lease: Lease,
    chance: random.Random,
    trial: TrialRow,
    replicate: int,
    purpose: Purpose,
    lengths: Sequence[float],
) -> None:
    """Record a student and its trainings of these lengths; sometimes the next one fails, or goes on."""
    costs: dict[str, Any] = {
        name: chance.randrange(1, 9) for name in ("params", "macs", "activation_bytes", "model_bytes")
    }
    key = f"{trial.number}-{purpose}-{replicate}"
    student = store.add_student(lease, trial.id, replicate, purpose, f"d{key}", {"nodes": [trial.number]}, **costs)
    for rung, epochs in enumerate(lengths):
        row = store.open_evaluation(lease, student.id, rung, epochs, f"{key}-{rung}")
        metrics = {"accuracy": chance.randrange(6) / 5, "loss": chance.choice([0.5, float("inf")])}
        metrics |= {"images": chance.randrange(100), "live_teacher_images": chance.randrange(2)}
        metrics |= {"test_accuracy": 0.5} if purpose == "final" else {}
        store.finish_evaluation(lease, row.id, metrics, chance.random())
    if chance.random() < 0.3:
        row = store.open_evaluation(lease, student.id, len(lengths), 40.0, f"{key}-{len(lengths)}")
        if chance.random() < 0.5:
            store.fail_evaluation(lease, row.id, "it would not", chance.choice(["worker", "trial"]))
