"""How long clients of the service wait for what they read while searches record results.

    python tests/benchmarks/service_reads.py --clients 1 10 50 --writers 8

The server is `autokd serve`, in a process of its own. Each client has one connection, and asks again so long after each
answer. Each writer is a process with the real controller and database, but simulated workers: the first goes on with
the search that is read, the others run searches of their own.
"""

import argparse
import multiprocessing
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import psutil
from machines import processor
from scale import create, evaluate, fill, problem_of
from simulated_searches import SimulatedDispatcher

from autokd.database.lease import acquire
from autokd.database.store import Store
from autokd.evaluation.task import EvaluationResult
from autokd.searches.controller import Controller
from autokd.searches.problem import Problem

ROUTES = ("progress", "events", "families")
ENDLESS = 1_000_000  # trials


class PacedDispatcher(SimulatedDispatcher):
    """Waits before each result, outside of any transaction."""

    def __init__(self, store: Store, name: str, seconds: float) -> None:
        super().__init__(store, acquire(store, name), 1, evaluate)
        self._seconds = seconds

    def _first_ended(self) -> list[Future[EvaluationResult]]:
        time.sleep(self._seconds)
        return super()._first_ended()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--routes", nargs="+", default=ROUTES)
    parser.add_argument("--trials", type=int, default=300, help="of the search that is read, when it begins")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two results of a writer")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between an answer and the next request")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each measurement")
    options = parser.parse_args()
    print(f"{processor()}, {options.writers} writers\n", flush=True)
    with tempfile.TemporaryDirectory() as home, ExitStack() as running:
        problems = begin(Path(home), options.trials, options.writers)
        for problem in problems:
            running.enter_context(writing(problem, options.every))
        url, token, server = running.enter_context(serving(Path(home)))
        print(
            "| route | clients | answers | p50, ms | p99, ms | CPU ms of an answer |\n|---|---|---|---|---|---|",
            flush=True,
        )
        for route in options.routes:
            path = f"/api/searches/{problems[0].config.name}/{route}"
            poll(url, path, token, 3.0, 0.0)  # the first answers load what they need
            for n in options.clients:
                before = cpu_seconds(server)
                with ThreadPoolExecutor(n) as clients:
                    asking = [clients.submit(poll, url, path, token, options.seconds, options.pause) for _ in range(n)]
                taken = [1000 * seconds for client in asking for seconds in client.result()]
                cuts = statistics.quantiles(taken, n=100, method="inclusive")
                figures = cuts[49], cuts[98], 1000 * (cpu_seconds(server) - before) / len(taken)
                print(
                    f"| {route} | {n} | {len(taken)} | {' | '.join(f'{each:,.1f}' for each in figures)} |", flush=True
                )


def begin(home: Path, trials: int, n: int) -> list[Problem]:
    """Record so many searches, the first with trials that ended."""
    problem = problem_of(home, ENDLESS, "random")
    names = [problem.config.name, *(f"other-{number}" for number in range(1, n))]
    problems = [replace(problem, config=problem.config.model_copy(update={"name": name})) for name in names]
    with Store(home / "autokd.db") as store:
        for each in problems:
            create(store, each)
        fill(store, problem, trials)
    return problems


@contextmanager
def writing(problem: Problem, seconds: float) -> Iterator[None]:
    """A block during which a process records a result of a search every so many seconds."""
    process = multiprocessing.Process(target=write, args=(problem, seconds), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def write(problem: Problem, seconds: float) -> None:
    """Go on with a search for ever."""
    with Store(problem.home / "autokd.db") as store:
        dispatcher = PacedDispatcher(store, problem.config.name, seconds)
        store.set_status(dispatcher.lease, "running")
        Controller(store, dispatcher.lease, problem, dispatcher).run()


@contextmanager
def serving(home: Path) -> Iterator[tuple[str, str, psutil.Process]]:
    """A block during which a service runs, with its URL, a token and its process."""
    command = [sys.executable, "-m", "autokd", "serve", "--port", "0", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            url, token = (server.stdout.readline().split()[-1] for _ in range(2))
            yield url, token, psutil.Process(server.pid)
        finally:
            server.terminate()


def cpu_seconds(process: psutil.Process) -> float:
    """CPU time of a process so far."""
    times = process.cpu_times()
    return times.user + times.system


def poll(url: str, path: str, token: str, seconds: float, pause: float) -> list[float]:
    """Seconds that each answer to one client took.

    Args:
        url: Of the service.
        path: What is read.
        token: Which may read.
        seconds: How long to ask.
        pause: Seconds between an answer and the next request; the first one comes at random within this time.
    """
    connection, taken = HTTPConnection(urlsplit(url).netloc, timeout=900), list[float]()
    until = time.perf_counter() + seconds
    time.sleep(random.uniform(0, pause))
    while (begun := time.perf_counter()) < until:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {content.decode()}")
        taken.append(time.perf_counter() - begun)
        time.sleep(pause)
    connection.close()
    return taken


if __name__ == "__main__":
    main()
