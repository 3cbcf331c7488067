import threading
from itertools import count

import pytest

from autokd.data.prefetch import prefetch


def test_results_have_the_order_of_their_arguments() -> None:
    assert list(prefetch(lambda x: x * x, range(20), 3)) == [x * x for x in range(20)]
    assert list(prefetch(abs, [], 3)) == []


def test_at_most_depth_results_are_computed_in_advance() -> None:
    taken: list[int] = []
    results = prefetch(lambda x: x, (taken.append(x) or x for x in count()), 3)
    assert next(results) == 0
    assert taken == [0, 1, 2, 3]
    results.close()  # type: ignore[attr-defined]


def test_the_thread_ends_with_the_iterator() -> None:
    results = prefetch(lambda x: threading.current_thread(), count(), 3)
    thread = next(results)
    assert thread is not threading.current_thread()
    results.close()  # type: ignore[attr-defined]
    assert not thread.is_alive()


def test_an_error_is_raised_where_its_result_would_have_come() -> None:
    results = prefetch(lambda x: 1 // x, [2, 1, 0, 5], 4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
