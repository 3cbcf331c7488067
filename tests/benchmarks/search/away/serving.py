"""What a peer in an environment of its own runs: answers requests, each a line of JSON, until there are no more.

The first line tells what is searched: `{"sizes": [5, 3, null], "ordered": [true, false, true], "seed": 0}`. It and
each later one, `{"ask": null}` or `{"tell": 7, "value": 0.93}`, gets one line: `{}` or
`{"point": [4, 0, 0.25], "seconds": 0.2}`. A point has for each parameter the index of a choice, or a number in [0, 1]
where there is a continuum, whose size is null. A value that is null belongs to a point that may not be trained, and
seconds are those of the process's CPU. Nothing of AutoKD is imported here.
"""

import json
import os
import random
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

__all__ = ["Optimiser", "Space", "serve"]


class Space:
    """What is searched.

    Attributes:
        sizes: Number of choices of each parameter; None for a continuum, which is [0, 1].
        ordered: Whether these have an order.
        names: Names of the parameters.
    """

    def __init__(self, sizes: Sequence[int | None], ordered: Sequence[bool]) -> None:
        self.sizes, self.ordered = tuple(sizes), tuple(ordered)
        self.names = [f"p{number}" for number in range(len(self.sizes))]

    @property
    def parameters(self) -> Iterator[tuple[str, int | None, bool]]:
        """Name and size of each parameter, and whether it has an order."""
        return zip(self.names, self.sizes, self.ordered, strict=True)

    def point(self, params: Mapping[str, Any]) -> list[float]:
        """Indices and numbers, in the order of the parameters, from those by name, of whatever type of number."""
        return [float(params[name]) if size is None else int(params[name]) for name, size, _ in self.parameters]


class Optimiser(Protocol):
    """A search of one library, which maximises."""

    def ask(self) -> list[float]:
        """The next point."""

    def tell(self, number: int, value: float | None) -> None:
        """What the so-manieth point gave."""


def serve(make: Callable[[Space, int], Optimiser]) -> None:
    """Answer the requests of standard input; whatever else is printed goes to standard error."""
    answers, sys.stdout = os.fdopen(os.dup(1), "w"), sys.stderr
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    given = json.loads(sys.stdin.readline())
    random.seed(given["seed"])
    np.random.seed(given["seed"])
    optimiser = make(Space(given["sizes"], given["ordered"]), given["seed"])
    answer: dict[str, object] = {}
    while True:
        print(json.dumps(answer), file=answers, flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        request = json.loads(line)
        answer = {}
        if "ask" in request:
            began = time.process_time()
            answer = {"point": optimiser.ask(), "seconds": time.process_time() - began}
        else:
            optimiser.tell(request["tell"], request["value"])
