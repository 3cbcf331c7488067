"""What the table holds: which students are trained on what, how long and how often. A number decides all of an entry.

Any first so many entries are a smaller table of the same proportions, up to chance.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from autokd.core.seeds import derive

__all__ = ["SPACES", "TASKS", "Entry", "Training", "entries", "trainings"]


@dataclass(frozen=True)
class Task:
    """Data and limits of some of the entries. They are the table's own: a changed search must not change them.

    Attributes:
        samples: Training samples of Fashion-MNIST.
        params: Parameters, as a share of the teacher's.
        macs: Multiply-accumulate operations of an image.
        weight: Number of entries of it among ten.
    """

    samples: int
    params: float
    macs: int
    weight: int


TASKS: Mapping[str, Task] = {
    "main": Task(3_000, 1 / 10, 20_000_000, 7),
    "fewer-samples": Task(1_000, 1 / 10, 20_000_000, 1),
    "smaller-students": Task(3_000, 1 / 30, 6_000_000, 1),
    "both": Task(1_000, 1 / 30, 6_000_000, 1),
}
"""The tasks: most entries are of the first, the others show what is learnt from one task for another."""

_PROBABILITY = [0.1, 0.9]

SPACES: Mapping[str, tuple[int, Mapping[str, Any]]] = {
    "nago": (
        4,
        {
            "top_nodes": [3, 6],
            "top_neighbours": [2, 4],
            "top_probability": _PROBABILITY,
            "middle_nodes": [1, 3],
            "middle_probability": _PROBABILITY,
            "bottom_nodes": [3, 6],
            "bottom_neighbours": [2, 4],
            "bottom_probability": _PROBABILITY,
        },
    ),
    "blocks": (3, {}),
    "randwire": (2, {"nodes": 12, "operation": "relu_conv3x3_bn"}),
    "nasbench201": (1, {"cells": 1}),
}
"""The spaces: number of entries among ten, and ranges or options."""

REPEATED = 5  # one entry in so many is trained three times
TIMES = 3
IN_FULL = 20  # one entry in so many is also trained at full length


@dataclass(frozen=True)
class Entry:
    """A student with a setting of its distillation.

    Attributes:
        number: Its number, from 0.
        task: Key of `TASKS`.
        space: Key of `SPACES`.
    """

    number: int
    task: str
    space: str

    @property
    def times(self) -> int:
        """How often it is trained."""
        return TIMES if derive("table", self.number, "repeated") % REPEATED == 0 else 1

    @property
    def in_full(self) -> bool:
        """Whether it is also trained at full length."""
        return derive("table", self.number, "in full") % IN_FULL == 0


@dataclass(frozen=True)
class Training:
    """One training of an entry.

    Attributes:
        entry: The entry.
        repeat: Number of the training, from 0, which decides first weights and batches.
        in_full: Whether it is at full length in place of the rungs.
    """

    entry: Entry
    repeat: int = 0
    in_full: bool = False

    @property
    def key(self) -> tuple[int, int, bool]:
        """What tells it from others in the file."""
        return self.entry.number, self.repeat, self.in_full


def entries(count: int) -> Iterator[Entry]:
    """The first entries."""
    tasks = [name for name, task in TASKS.items() for _ in range(task.weight)]
    spaces = [name for name, (weight, _) in SPACES.items() for _ in range(weight)]
    for number in range(count):
        turn = derive("table", number // 100) % 10  # so that tasks and spaces meet in other pairs each hundred
        yield Entry(number, tasks[number % 10], spaces[(number // 10 + number + turn) % 10])


def trainings(count: int) -> Iterator[Training]:
    """All trainings of the first entries, those of an entry one after the other."""
    for entry in entries(count):
        yield from (Training(entry, repeat) for repeat in range(entry.times))
        if entry.in_full:
            yield Training(entry, in_full=True)
