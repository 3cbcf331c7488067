"""What a search of very many trials costs its controller, and how long the verbs take that show it.

    python tests/benchmarks/scale.py record --evaluations 100000 [--url postgresql://...]
    python tests/benchmarks/scale.py utilisation --finished 10000 --trials 2000
    python tests/benchmarks/scale.py verbs --trials 100000

Nothing is trained: controller, optimiser and database are the real ones, the 1,000 workers are simulated.

* record: trials are proposed at random and pruned by halving at three rungs. Results a second, by the clock and by the
  CPU time of this process, which a PostgreSQL server's is not part of.
* utilisation: trials of 60 seconds, proposed by the own sampler. The CPU time of the controller passes for the workers,
  too, so they are idle while it is busy. `finished` trials are there before.
* verbs: CPU seconds and memory of each verb as a process of its own, with its imports, on a search of so many trials.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import insert, text

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from digits_facts import DIGITS
from machines import processor
from simulated_searches import SimulatedDispatcher

from autokd.config.parsing import parse_config
from autokd.core.seeds import derive
from autokd.database.lease import acquire
from autokd.database.models import Evaluation, Event, Student, Trial
from autokd.database.rows import EvaluationRow, TrialRow
from autokd.database.store import Store
from autokd.evaluation.task import EvaluationResult, EvaluationTask
from autokd.searches.controller import Controller
from autokd.searches.problem import Problem
from autokd.searches.proposals import propose

WORKERS = 1000
SECONDS = 60.0
AT_ONCE = 2000  # trials that are written at once
RUNGS = (1, 3, 9)
FURTHER_METRICS = (
    *("loss", "ece", "ece_scaled", "scaling_temperature", "top5", "macro_f1", "auroc", "agreement", "teacher_kl"),
    *("training_loss", "images", "live_teacher_images", "nonzero_params"),
)


class EnoughError(Exception):
    """Ends a search of which enough was seen."""


class ClockedDispatcher(SimulatedDispatcher):
    """Counts results, and lets the time that the controller takes pass for the workers, too."""

    def __init__(self, store: Store, workers: int) -> None:
        super().__init__(store, acquire(store, 1), workers, evaluate)
        self.recorded = 0
        self._last = time.process_time()

    def submit(self, row: EvaluationRow, task: EvaluationTask) -> None:
        self._elapse()
        super().submit(row, task)

    def _first_ended(self) -> list[Future[EvaluationResult]]:
        self._elapse()
        ended = super()._first_ended()
        self.recorded += len(ended)
        self._last = time.process_time()
        return ended

    def _elapse(self) -> None:
        now = time.process_time()
        self.cluster.elapse(now - self._last)
        self._last = now


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    recording = commands.add_parser("record")
    recording.add_argument("--evaluations", type=int, default=100_000)
    recording.add_argument("--url")
    recording.set_defaults(measure=record)
    using = commands.add_parser("utilisation")
    using.add_argument("--finished", type=int, default=10_000)
    using.add_argument("--trials", type=int, default=2_000)
    using.set_defaults(measure=utilisation)
    showing = commands.add_parser("verbs")
    showing.add_argument("--trials", type=int, default=100_000)
    showing.set_defaults(measure=verbs)
    arguments = vars(parser.parse_args())
    print(f"{processor()}, {WORKERS:,} workers\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        arguments.pop("measure")(Path(folder), **arguments)


def record(folder: Path, evaluations: int, url: str | None) -> None:
    """Record a search, and print at each tenth of it.

    Args:
        folder: An empty folder.
        evaluations: Number of evaluations after which to stop.
        url: An empty PostgreSQL database; None for a SQLite file.
    """
    problem = problem_of(folder, evaluations, "random")
    print(
        "| evaluations | trials | results/s | results/CPU s | MiB | database, MiB |\n|---|---|---|---|---|---|",
        flush=True,
    )
    with Store(url or folder / "autokd.db") as store:
        create(store, problem)
        dispatcher = ClockedDispatcher(store, WORKERS)
        controller = Controller(store, dispatcher.lease, problem, dispatcher)
        before = 0, time.perf_counter(), time.process_time()

        def look() -> None:
            nonlocal before
            if dispatcher.recorded - before[0] >= evaluations / 10:
                now = dispatcher.recorded, time.perf_counter(), time.process_time()
                n, clock, cpu = (after - earlier for after, earlier in zip(now, before, strict=True))
                cells = now[0], controller.state.n_trials, round(n / clock), round(n / cpu), memory(), size(store)
                print(f"| {' | '.join(f'{cell:,}' for cell in cells)} |", flush=True)
                before = now
            if dispatcher.recorded >= evaluations:
                raise EnoughError

        run(controller, look)


def utilisation(folder: Path, finished: int, trials: int) -> None:
    """Print the share of their time that workers train, while so many trials end after those that finished before.

    Args:
        folder: An empty folder.
        finished: Number of trials that are there.
        trials: Number of further trials to end.
    """
    problem = problem_of(folder, finished + trials + WORKERS, "trust-region", rungs=RUNGS[:1])
    with Store(folder / "autokd.db") as store:
        create(store, problem)
        fill(store, problem, finished)
        dispatcher = ClockedDispatcher(store, WORKERS)
        controller = Controller(store, dispatcher.lease, problem, dispatcher)
        started = time.process_time()
        controller.state  # noqa: B018 (reads all rows)
        print(f"read {finished:,} trials in {time.process_time() - started:.1f} CPU s")
        propose_one, taken = controller.state.proposer.propose, list[float]()

        def timed(number: int) -> Any:
            begun = time.process_time()
            found = propose_one(number)
            taken.append(time.process_time() - begun)
            return found

        controller.state.proposer.propose = timed  # type: ignore[method-assign]
        full: list[tuple[int, float]] = []  # when all workers were busy for the first time

        def look() -> None:
            if not full and dispatcher.room <= 0:
                full.append((dispatcher.recorded, dispatcher.cluster.now))
            if dispatcher.recorded >= trials:
                raise EnoughError

        run(controller, look)
        (n, since), now = full[0], dispatcher.cluster.now
        busy = (dispatcher.recorded - n) * SECONDS / (WORKERS * (now - since))
        print(f"workers busy {100 * busy:.1f} %, a proposal takes {1000 * sum(taken) / len(taken):.0f} CPU ms (mean)")


def verbs(folder: Path, trials: int) -> None:
    """Print what each verb takes.

    Args:
        folder: An empty folder.
        trials: Number of trials of the search.
    """
    problem = problem_of(folder, trials, "trust-region")
    with Store(folder / "autokd.db") as store:
        create(store, problem)
        fill(store, problem, trials)
        print(f"database of {size(store):,} MiB\n\n| verb | CPU s | MiB |\n|---|---|---|", flush=True)
    environment = {**os.environ, "AUTOKD_HOME": str(folder)}
    writing = f"plot scale {folder / 'scale.svg'}", f"report scale {folder / 'report'}"
    for verb in ("list", "status scale", "families scale", "best scale", *writing):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "autokd", *verb.split()], check=True, env=environment, capture_output=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"| {verb.split()[0]} | {cpu:.1f} | {after.ru_maxrss // 1024:,} |", flush=True)


def problem_of(folder: Path, trials: int, sampler: str, rungs: tuple[int, ...] = RUNGS) -> Problem:
    """A search of small random graphs by simulated workers."""
    values = {
        "name": "scale",
        "trials": trials,
        "data": {"source": "digits"},
        "teacher": {"factory": "autokd.recipes.teachers:digits"},
        "budget": {"params": 4_000},
        "space": {"name": "nago", "ranges": {"top_nodes": 3, "middle_nodes": 1, "bottom_nodes": [3, 5]}},
        "optimizer": {"name": sampler},
        "training": {"rungs": list(rungs)},
        "references": {"names": []},
        "workers": {"count": WORKERS},
    }
    return Problem(parse_config(values), DIGITS, folder)


def create(store: Store, problem: Problem) -> None:
    """Record the search."""
    config = problem.config
    store.create_search(config.name, config.seed, config.to_dict(), config.digest, asdict(DIGITS))


def run(controller: Controller, look: Callable[[], None]) -> None:
    """Run a search until `look`, which is called whenever something was recorded, raises `EnoughError`."""
    controller.dispatcher.on_change = look
    with suppress(EnoughError):
        controller.run()


def evaluate(task: EvaluationTask) -> EvaluationResult:
    """A result that depends on the setting of the distillation, and on chance."""
    settings = dict(task.settings)
    merit = float(settings["weight"]) - abs(float(settings["temperature"]) - 4) / 10
    return EvaluationResult(task.key, metrics_of(merit, task.rung, derive(task.key) / 2**63), SECONDS, "host:1")


def metrics_of(merit: float, rung: int, chance: float) -> dict[str, float]:
    """Metrics of a training, as many as there are."""
    accuracy = 0.6 + 0.1 * rung + 0.1 * merit + 0.02 * chance
    named = {"accuracy": accuracy, "balanced_accuracy": accuracy, "absent_classes": 0.0}
    return named | {"training_cross_entropy": 1 - accuracy} | dict.fromkeys(FURTHER_METRICS, chance)


def fill(store: Store, problem: Problem, trials: int) -> None:
    """Record trials that ended, as a search would leave them: at each rung two of three are pruned."""
    drawn = [family(problem, number) for number in range(8)]
    for start in range(0, trials, AT_ONCE):
        tables: dict[type[Any], list[dict[str, Any]]] = {Trial: [], Student: [], Evaluation: [], Event: []}
        for number in range(start, min(start + AT_ONCE, trials)):
            for model, row in ended_trial(number, *drawn[number % len(drawn)]):
                tables[model].append(row)
        with store.transaction() as session:
            for model, rows in tables.items():
                session.execute(insert(model), rows)


def family(problem: Problem, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters of a trial, and the columns of its student."""
    parameters, now = propose(problem, [], number), datetime.now(UTC)
    trial = TrialRow(number, 1, number, parameters, "running", None, None, now, None, None)
    architecture, cost = problem.draw(trial, 0)
    costs = {name: getattr(cost, name) for name in ("params", "macs", "activation_bytes", "model_bytes")}
    return parameters, costs | {"digest": architecture.digest, "architecture": architecture.to_dict()}


def ended_trial(
    number: int, like: dict[str, Any], student: dict[str, Any]
) -> Iterator[tuple[type[Any], dict[str, Any]]]:
    """The rows of a trial that ended.

    Args:
        number: Number of the trial.
        like: Parameters of its family; those of the distillation are drawn.
        student: Columns of its student.
    """
    at, chances = datetime.now(UTC), [derive(number, k) / 2**63 for k in range(3 + len(RUNGS))]
    parameters = like | {"temperature": 1 + 9 * chances[0], "weight": chances[1]}
    merit = chances[1] - abs(parameters["temperature"] - 4) / 10
    top = len(RUNGS) - 1
    last = next((rung for rung in range(top) if derive(number, "climbs", rung) % 3), top)
    metrics = [metrics_of(merit, rung, chances[3 + rung]) for rung in range(last + 1)]
    row = {"id": number + 1, "search_id": 1}
    named, ended = {"trial": number}, "complete" if last == top else "pruned"
    yield (
        Trial,
        row
        | {"number": number, "parameters": parameters, "state": ended, "value": metrics[-1]["accuracy"]}
        | {"created_at": at, "finished_at": at, "finish_order": number, "opened_after": max(0, number - WORKERS)}
        | {"rung": last, "seconds": SECONDS * (last + 1), "at_chance": False, "reason": None},
    )
    yield Student, row | student | {"trial_id": number + 1, "replicate": 0, "purpose": "search"}
    yield Event, event("trial_opened", named)
    yield Event, event("student_added", named | {"replicate": 0, "purpose": "search", "digest": student["digest"]})
    for rung, measured in enumerate(metrics):
        key = {"id": number * len(RUNGS) + rung + 1, "search_id": 1, "trial_id": number + 1, "student_id": number + 1}
        yield (
            Evaluation,
            key
            | {"rung": rung, "epochs": float(RUNGS[rung]), "key": f"{number:024}-{rung}", "state": "complete"}
            | {"metrics": measured, "seconds": SECONDS, "worker": "host:1", "created_at": at, "finished_at": at},
        )
        described = {"evaluation": key["id"], "rung": rung, "replicate": 0} | named
        yield Event, event("evaluation_opened", described | {"student": number + 1, "again": False})
        yield Event, event("evaluation_finished", described | {"metrics": measured})
    yield Event, event("trial_finished", named | {"state": ended, "value": metrics[-1]["accuracy"], "reason": None})


def event(kind: str, payload: dict[str, Any]) -> dict[str, Any]:
    """The row of an event."""
    return {"search_id": 1, "at": datetime.now(UTC), "kind": kind, "payload": payload}


def memory() -> int:
    """Largest resident memory so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def size(store: Store) -> int:
    """Size of the database, in MiB."""
    asked = (
        "SELECT pg_database_size(current_database())"
        if store.engine.dialect.name == "postgresql"
        else "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    )
    with store.session() as session:
        return int(session.scalar(text(asked)) or 0) // 2**20


if __name__ == "__main__":
    main()
