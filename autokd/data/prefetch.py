"""Work done ahead of need, in a thread."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

__all__ = ["prefetch"]

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def prefetch(work: Callable[[Argument], Result], arguments: Iterable[Argument], depth: int) -> Iterator[Result]:
    """`map(work, arguments)`, of which up to `depth` results are made before they are asked for, one after another.

    The thread ends with the iterator. An error is raised where its result would have come.
    """
    remaining = iter(arguments)
    with ThreadPoolExecutor(1, "ahead") as thread:
        try:
            pending = deque(thread.submit(work, argument) for argument in islice(remaining, depth))
            while pending:
                result = pending.popleft().result()
                pending.extend(thread.submit(work, argument) for argument in islice(remaining, 1))
                yield result
        finally:
            thread.shutdown(cancel_futures=True)
