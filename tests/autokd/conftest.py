"""What tests of autokd share: small data sets that can be learnt, and searches that train nothing."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from clusters import Cluster, running_cluster
from digits_facts import DIGITS
from hub_models import package
from hub_server import HubServer, running_hub

from autokd.config.parsing import parse_config
from autokd.core.seeds import derive
from autokd.data.dataset import Dataset, Split
from autokd.database.rows import EvaluationRow, StudentRow, TrialRow
from autokd.database.store import Store
from autokd.evaluation.task import EvaluationResult, EvaluationTask
from autokd.searches.facts import Facts
from autokd.searches.problem import Problem
from autokd.searches.trial_record import TrialRecord


@pytest.fixture(autouse=True, scope="session")
def _no_references() -> Iterator[None]:
    """Lets searches of this process train no references, which takes time; `with_references` lets them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Problem, "references", ())
        yield


@pytest.fixture
def with_references(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets searches train the references that their configuration names, as those of users do."""
    monkeypatch.setattr(Problem, "references", property(lambda problem: problem.config.references.names))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One PostgreSQL server for all tests, gone afterwards; it takes about two seconds to start."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., Dataset]:
    """Makes data sets of noisy images whose class is the brightest third of their rows.

    Another `shape` makes signals (length and channels) or vectors (features), float32 ones too.
    """

    def make(
        train: int = 60,
        size: int = 6,
        channels: int = 1,
        classes: int = 3,
        seed: int = 0,
        shape: tuple[int, ...] = (),
        dtype: torch.dtype = torch.uint8,
    ) -> Dataset:
        generator = torch.Generator().manual_seed(seed)
        shape = shape or (size, size, channels)

        def split(n: int) -> Split:
            labels = torch.arange(n) % classes
            images = torch.randint(0, 160, (n, *shape), generator=generator, dtype=torch.uint8)
            band = shape[0] // classes
            for image, label in zip(images, labels.tolist(), strict=True):
                image[label * band : (label + 1) * band] += 90
            return Split(images if dtype == torch.uint8 else images.to(dtype) / 50 - 7, labels)

        return Dataset("tiny", split(train), split(21), split(24), tuple(f"class {k}" for k in range(classes)))

    return make


@pytest.fixture
def dataset(make_dataset: Callable[..., Dataset]) -> Dataset:
    return make_dataset()


@pytest.fixture
def facts() -> Facts:
    """Of digits, without loading them."""
    return DIGITS


@pytest.fixture
def make_problem(facts: Facts, tmp_path: Path) -> Callable[..., Problem]:
    """Makes small searches; every section of the configuration may be given."""

    def make(**sections: Any) -> Problem:
        values: dict[str, Any] = {
            "name": "first",
            "trials": 4,
            "data": {"source": "digits"},
            "teacher": {"factory": "autokd.recipes.teachers:digits"},
            "budget": {"params": 4_000},
            "space": {"name": "nago", "ranges": {"top_nodes": 3, "middle_nodes": 1, "bottom_nodes": [3, 4]}},
            "optimizer": {"name": "random"},
            "workers": {"engine": "inline", "count": 1},
        }
        return Problem(parse_config(values | sections), facts, tmp_path / "home")

    return make


@pytest.fixture
def make_store(tmp_path: Path) -> Iterator[Callable[..., Store]]:
    """Makes databases with the search of a problem in them."""
    stores: list[Store] = []

    def make(problem: Problem, kind: type[Store] = Store) -> Store:
        config = problem.config
        store = kind(tmp_path / f"{len(stores)}.db")
        stores.append(store)
        store.create_search(config.name, config.seed, config.to_dict(), config.digest, asdict(problem.facts))
        return store

    yield make
    for store in stores:
        store.close()


def measured(accuracy: float) -> dict[str, float]:
    """The metrics by which trials are compared, all of one opinion."""
    return {"accuracy": accuracy, "training_cross_entropy": 1 - accuracy}


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets evaluations return an accuracy that follows from their key, and train nothing.

    A function of the task may be given: it may raise, and its number is the accuracy.
    """

    def install(accuracy_of: Callable[[EvaluationTask], float | None] = lambda task: None) -> None:
        def evaluate(task: EvaluationTask) -> EvaluationResult:
            accuracy = accuracy_of(task)
            random = derive(task.key) / 2**63
            return EvaluationResult(task.key, measured(random if accuracy is None else accuracy), 2.0)

        monkeypatch.setattr("autokd.searches.dispatcher.evaluate", evaluate)
        monkeypatch.setattr("autokd.searches.dispatcher.missing_outputs", lambda context: [])

    return install


@pytest.fixture
def interrupt_once() -> Callable[[EvaluationTask], None]:
    """For `pretend`: interrupts every evaluation when it is begun for the first time."""
    seen = set[str]()

    def interrupt(task: EvaluationTask) -> None:
        if task.key not in seen:
            seen.add(task.key)
            raise KeyboardInterrupt

    return interrupt


CLOCK = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def make_record() -> Callable[..., TrialRecord]:
    """Makes a trial with its students and their accuracies at each rung: `make(3, [[0.5, 0.6], [0.4]])`."""

    def make(
        number: int,
        accuracies: list[list[float]] = [],  # noqa: B006 (read only)
        state: Any = "running",
        parameters: dict[str, Any] | None = None,
        finish_order: int | None = None,
        value: float | None = None,
        **options: Any,
    ) -> TrialRecord:
        reason = options.get("reason")
        opened = CLOCK + timedelta(seconds=options.get("opened", number))
        finished = (
            None if finish_order is None else CLOCK + timedelta(seconds=options.get("finished", 100 + finish_order))
        )
        trial = TrialRow(
            number + 100,
            1,
            number,
            parameters or {},
            state,
            value,
            reason,
            opened,
            finished,
            finish_order,
            options.get("opened_after", 0),
        )
        n_students = options.get("students") or (len(accuracies[0]) if accuracies else 1)
        students = tuple(
            StudentRow(10 * trial.id + k, 1, trial.id, k, "search", "digest", {}, 1000 - k, 5000 + k, 1, 1)
            for k in range(n_students)
        )
        evaluations = tuple(
            EvaluationRow(
                100 * trial.id + 10 * rung + k,
                1,
                trial.id,
                students[k].id,
                rung,
                float(rung + 1),
                "key",
                "complete",
                measured(accuracy),
                2.0,
                None,
                None,
                None,
                CLOCK,
                CLOCK,
                None,
            )
            for rung, reached in enumerate(accuracies)
            for k, accuracy in enumerate(reached)
        )
        return TrialRecord(trial, students, evaluations)

    return make


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub on this machine, at which one is logged in."""
    constants = package("huggingface_hub.constants")
    with running_hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        yield server
