import threading

from autokd.core.repeating import repeating


def test_a_function_is_called_while_the_block_runs_and_not_afterwards() -> None:
    calls, third = list[str](), threading.Event()

    def call() -> None:
        calls.append(threading.current_thread().name)
        if len(calls) == 3:
            third.set()

    with repeating(call, 0.0, "caller"):
        third.wait()
    n = len(calls)
    assert calls == ["caller"] * n
    assert "caller" not in {thread.name for thread in threading.enumerate()}
