"""Prefetching in a thread."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

__all__ = ["prefetch"]

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def prefetch(work: Callable[[Argument], Result], arguments: Iterable[Argument], depth: int) -> Iterator[Result]:
    """Iterator like `map(work, arguments)` that computes up to `depth` results in advance, in one thread.

    The thread ends with the iterator. An error is raised in place of the result that it prevents.

    Args:
        work: Function of one argument.
        arguments: Its arguments, in order.
        depth: Number of results computed in advance.
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
