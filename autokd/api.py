"""The public way to search: begin, find and resume searches, and ask what they found."""

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from autokd.config import (
    RESUMABLE_CHANGES,
    BudgetConfig,
    SearchConfig,
    differences,
    make_paths_absolute,
    parse_config,
    recorded_config,
)
from autokd.controller import Controller
from autokd.data.dataset import Dataset
from autokd.data.sources import load_data
from autokd.data.user import from_arrays, save_npz
from autokd.database.lease import Lease, is_owned
from autokd.database.reading import Reader
from autokd.database.rows import SearchRow
from autokd.dispatch import Dispatcher
from autokd.errors import AutoKDError, InputError, InterruptedSearchError
from autokd.export.folder import Verification, write_folder
from autokd.files import write_atomically
from autokd.final import FinalTraining, trainings
from autokd.heartbeat import owning
from autokd.home import Home, default_home
from autokd.ladder import Ladder, ladders
from autokd.lessons import LessonPlan, missing_answers, prepare_answers
from autokd.manifest import describe_export
from autokd.preflight import check_budget, check_methods, check_storage, find_facts, survey
from autokd.problem import Facts, Problem
from autokd.progress import Progress, Training, measure_progress
from autokd.projection import project
from autokd.reporting import Reporter, Silent
from autokd.students import TrainedStudent, trained_students
from autokd.teachers.given import source_of, wrapped_teacher
from autokd.teachers.teacher import Teacher, load_teacher
from autokd.training.metrics import label_metrics
from workers.base import Executor, Limits
from workers.errors import WorkerError
from workers.registry import executor

if TYPE_CHECKING:
    from autokd.families import Family

__all__ = ["SearchResult", "begin", "find", "find_all", "search"]


def search(
    *,
    teacher: str | Path | Callable[[Tensor], Any] | Mapping[str, Any],
    data: str | Path | Dataset | Mapping[str, Any],
    budget: BudgetConfig,
    weights: str | Path | None = None,
    floor: float | None = None,
    teacher_settings: Mapping[str, Any] | None = None,
    space: str = "nago",
    ranges: Mapping[str, Any] | None = None,
    trials: int = 60,
    name: str = "search",
    home: Home | str | Path | None = None,
    reporter: Reporter | None = None,
    **sections: Any,
) -> "SearchResult":
    """Search the student for a teacher, and return what was found.

    Workers are processes of their own, so a script calls this under `if __name__ == "__main__":`.

    Args:
        teacher: A module or any callable from a normalised float batch (images `batch x channels x height x width`,
            signals `batch x channels x length`, vectors `batch x features`) to logits; "module:function" that returns
            one; an `.onnx` file; or a teacher's outputs: a dict of the arrays `train`, `validation` and `test`, or an
            `.npz` file or folder of them.
        data: A data set or a dict of arrays, or where they are: "fashion-mnist", "digits", a `.npz` file, a folder, or
            "module:function".
        budget: What the device allows.
        weights: File of the teacher's weights, where `teacher` is a name.
        floor: Smallest validation accuracy of the teacher at which the search starts.
        teacher_settings: Everything else that the section `[teacher]` may say:
            `{"resize": 224, "mean": [0.5], "deviation": [0.5]}`.
        space: Name of the search space.
        ranges: Narrower ranges for the space's dimensions, or values that fix them.
        trials: Number of trials.
        name: Name of the search; a number is appended if it is taken.
        home: Folder of all searches; `AUTOKD_HOME` or `autokd-runs` when left away.
        reporter: Hears of the progress.
        sections: Everything else that a `search.toml` may say: `seed=1`, `training={"rungs": [1, 3]}`.

    Raises:
        InputError: If something that was given cannot be used.
        BudgetInfeasibleError: If no student meets the budget.
        InterruptedSearchError: If the search was interrupted; `find(name).resume()` goes on.
    """
    place = _place(home)
    source = source_of(teacher, place.folder)
    values: dict[str, Any] = {
        "name": name,
        "trials": trials,
        "budget": budget.model_dump(exclude_none=True),
        "space": {"name": space, "ranges": dict(ranges or {})},
        "teacher": source | {"weights": weights and str(weights), "floor": floor} | dict(teacher_settings or {}),
        "data": {"source": _source(data, place)},
        **sections,
    }
    make_paths_absolute(values, Path.cwd())
    result = begin(parse_config(values), place, None if source else teacher, reporter)  # type: ignore[arg-type]
    result.resume()
    return result


def begin(
    config: SearchConfig,
    home: Home | str | Path | None = None,
    teacher: Callable[[Tensor], Any] | None = None,
    reporter: Reporter | None = None,
    command: Sequence[str] = (),
) -> "SearchResult":
    """Check everything and record a new search, which `SearchResult.resume` then runs.

    Nothing is recorded if a check fails.

    Args:
        config: The search; a number is appended to its name if it is taken.
        home: Where it is recorded.
        teacher: The teacher, where the configuration does not name one.
        reporter: Hears of the progress.
        command: The command line, to be recorded.

    Raises:
        InputError: If something that was given cannot be used.
        BudgetInfeasibleError: If no student meets the budget.
    """
    home = _place(home)
    wrapped = wrapped_teacher(teacher, config)
    reporter = reporter or Silent()
    _executor(config).shutdown(cancel=True)  # it starts no process before its first task
    reporter.checking()
    facts = find_facts(config, wrapped)
    problem = Problem(config, facts, home.folder)
    problem.check()
    check_methods(problem, wrapped)
    offers = survey(problem)
    reporter.checked(facts, offers)
    check_budget(offers)
    with home.open(create=True) as store:
        check_storage(problem, wrapped)
        taken = {row.name for row in store.searches()}
        config = config.model_copy(update={"name": _free_name(config.name, taken)})
        recorded = asdict(facts) | {"command": list(command or sys.argv)}
        result = SearchResult(home, config.name, wrapped, reporter)
        with result.interruptible("resume"):
            store.create_search(config.name, config.seed, config.to_dict(), config.digest, recorded)
            reporter.began(config.name)
    return result


def find(
    name: str,
    home: Home | str | Path | None = None,
    reporter: Reporter | None = None,
    teacher: Callable[[Tensor], Any] | None = None,
) -> "SearchResult":
    """The search of that name.

    Args:
        name: Of the search.
        home: Where it is recorded.
        reporter: Hears of the progress.
        teacher: The teacher, where the search began with an object: wanted by `resume` and `train` only as far as its
            outputs are not stored yet.

    Raises:
        InputError: If there is none, or it began with another teacher.
    """
    result = SearchResult(_place(home), name, None, reporter or Silent())
    result = replace(result, teacher=wrapped_teacher(teacher, result.config))
    digest = result.row.facts["teacher_digest"]
    if result.teacher and result.teacher.digest != digest:
        raise InputError(
            f"search {name!r} began with another teacher: the digest of this one is {result.teacher.digest[:12]}, "
            f"but was {digest[:12]}."
        )
    return result


def find_all(home: Home | str | Path | None = None) -> list["SearchResult"]:
    """All searches, the oldest first; none where there is no database yet."""
    home = _place(home)
    if not home.exists:
        return []
    with home.open() as store:
        return [SearchResult(home, row.name, None, Silent()) for row in store.searches()]


@dataclass(frozen=True)
class SearchResult:
    """A recorded search: what it found so far, and how to go on. Every property is read from the database anew.

    Attributes:
        home: Where it is recorded.
        name: Its name.
        teacher: The teacher, where it was given as an object.
        reporter: Hears of the progress.
    """

    home: Home
    name: str
    teacher: Teacher | None
    reporter: Reporter

    @property
    def row(self) -> SearchRow:
        """Status, configuration and facts as recorded."""
        with self.home.open() as store:
            return store.search(self.name)

    @property
    def config(self) -> SearchConfig:
        """The configuration."""
        return recorded_config(dict(self.row.config), f"search {self.name}")

    @property
    def problem(self) -> Problem:
        """What is searched."""
        row = self.row
        return Problem(
            recorded_config(dict(row.config), f"search {self.name}"), Facts.from_dict(row.facts), self.home.folder
        )

    @property
    def trials(self) -> list[Ladder]:
        """All trials with their students and evaluations, by number."""
        with self.home.open() as store:
            return list(ladders(store, store.search(self.name).id).values())

    def trial(self, number: int) -> Ladder:
        """One trial.

        Raises:
            InputError: If there is none of that number.
        """
        trials = self.trials
        if not 0 <= number < len(trials):
            allowed = f"0..{len(trials) - 1}" if trials else "none yet"
            raise InputError(f"search {self.name!r} has no trial {number}: there are {allowed}.")
        return trials[number]

    @property
    def progress(self) -> Progress:
        """How far the search is."""
        with self.home.open() as store:
            return _progress(store, self.name)

    @property
    def students(self) -> Sequence[TrainedStudent]:
        """All students that were trained, the best first."""
        problem = self.problem
        with self.home.open() as store:
            return trained_students(problem, store, store.search(self.name).id)

    @property
    def best(self) -> TrainedStudent:
        """The best student: of the full-length training if there was one, else of the search.

        Raises:
            InputError: If no student was trained yet.
        """
        students = self.students
        if not students:
            raise InputError(f"search {self.name!r} has no trained student yet.")
        return students[0]

    @property
    def families(self) -> "list[Family]":
        """The families searched, the best first, with what the model of the search believes of them."""
        from autokd.families import rank_families  # loads the model

        return rank_families(self.problem, self.trials)

    @property
    def importances(self) -> dict[str, float]:
        """How much each searched dimension decides the accuracy, as shares of 1, the most important first.

        Raises:
            InputError: If there are too few finished trials to tell.
        """
        from autokd.importance import importances  # loads the model

        problem = self.problem
        return importances(project(self.trials, problem.distributions), problem.dimensions)

    def resume(self, config: SearchConfig | None = None) -> None:
        """Go on until all trials are finished; the same code as beginning.

        Args:
            config: A changed configuration; only trials, seconds, workers and final may differ.

        Raises:
            InputError: If anything else differs, another controller owns the search, or data or teacher are gone.
            InterruptedSearchError: If it is interrupted; everything recorded stays.
            AutoKDError: If no trial could be trained.
        """
        with self._session("resume", config) as (problem, lease, dispatcher):
            store = dispatcher.store
            dispatcher.on_change = lambda: self.reporter.searched(_progress(store, self.name))
            self._prepare(problem.plan)
            Controller(store, lease, problem, dispatcher).run()
            progress = _progress(store, self.name)
            store.set_status(lease, "failed" if progress.best_trial is None else "finished")
            dispatcher.on_change()
        if progress.best_trial is None:
            reason, number = max(progress.reasons.items(), key=lambda item: item[1])
            raise AutoKDError(f"no trial could be trained; {number} of {progress.failed} failed with: {reason}")

    def train(self, config: SearchConfig | None = None) -> Sequence[TrainedStudent]:
        """Train students of the best family at full length, and return them, the best first.

        It is the first of `families` among those that climbed to the last rung, or as high as any did.

        Raises:
            InputError: If the search has no trained student yet, or another controller owns it.
            InterruptedSearchError: If it is interrupted; `train` goes on from the last epoch.
            AutoKDError: If all trainings failed.
        """
        from autokd.families import winner  # loads the model

        best = winner(self.families)
        if best is None:
            raise InputError(f"search {self.name!r} has no trained student yet.")
        with self._session("train", config) as (problem, lease, dispatcher):
            store = dispatcher.store
            dispatcher.on_change = lambda: self.reporter.trained(trainings(problem, store, lease.search_id))
            self._prepare(problem.final_plan)
            FinalTraining(store, lease, problem, dispatcher, self.trial(best.trial).trial).run()
            store.set_status(lease, "finished", self._teacher_on_test(problem))
        return [student for student in self.students if student.is_final and student.trial.number == best.trial]

    def export(self, folder: str | Path, student: TrainedStudent | None = None, fold: bool = True) -> Verification:
        """Write a student as a plain PyTorch module, reload it in a fresh interpreter, and compare.

        Args:
            folder: Folder to write; an earlier export is replaced.
            student: Which one; the best when left away.
            fold: Whether to fold batch norm into the convolutions, which makes inference faster; without it the module
                is as it was trained, to be trained on.

        Raises:
            InputError: If there is no trained student, or the folder holds something else.
            AutoKDError: If the reloaded student computes something else.
        """
        return write_folder(describe_export(self.problem, self.row, student or self.best, fold), Path(folder))

    def with_reporter(self, reporter: Reporter) -> "SearchResult":
        """The same search with another listener."""
        return replace(self, reporter=reporter)

    @property
    def trainings(self) -> list[Training]:
        """How far the full-length trainings are."""
        problem = self.problem
        with self.home.open() as store:
            return trainings(problem, store, store.search(self.name).id)

    def command(self, verb: str) -> str:
        """The command line that does this with the search."""
        return f"autokd {verb} {self.name}{self.home.option}"

    @contextmanager
    def _session(self, verb: str, config: SearchConfig | None) -> Iterator[tuple[Problem, Lease, Dispatcher]]:
        """The right to write, and workers; interrupted, it leaves a search with which `verb` goes on."""
        with self.interruptible(verb), self.home.open() as store, owning(store, self.name) as lease:
            config = config or self.config
            changes = self._changes(config)
            pool = _executor(config)
            try:
                if changes:
                    store.set_config(lease, config.to_dict(), config.digest)
                store.set_status(lease, "running")
                yield (
                    self.problem,
                    lease,
                    Dispatcher(store, lease, pool, on_prepared=self.reporter.prepared, on_told=self.reporter.told),
                )
            except BaseException:
                store.set_status(lease, "interrupted")
                raise
            finally:
                pool.shutdown(cancel=True)

    @contextmanager
    def interruptible(self, verb: str) -> Iterator[None]:
        """A block whose interruption leaves a search with which `verb` goes on, and says so."""
        try:
            yield
        except KeyboardInterrupt:
            message = f"search {self.name!r} was interrupted; `{self.command(verb)}` goes on."
            raise InterruptedSearchError(message) from None

    def _changes(self, config: SearchConfig) -> Collection[str]:
        """The keys that differ from the recorded configuration.

        Raises:
            InputError: If one of them decides what the search found so far.
        """
        changed = differences(self.config, config)
        refused = {key: change for key, change in changed.items() if not _may_change(key)}
        if refused:
            lines = [f"{key}: {before!r} -> {after!r}" for key, (before, after) in refused.items()]
            allowed = ", ".join(sorted(RESUMABLE_CHANGES))
            raise InputError(f"a resumed search may change only {allowed}, but {'; '.join(lines)}.")
        return changed

    def _prepare(self, plan: LessonPlan) -> None:
        """Compute the outputs of a teacher object here, since workers cannot make it."""
        if plan.teacher.source is None:
            for answers in missing_answers(plan):
                if self.teacher is None:
                    raise InputError(
                        "the teacher was given as an object, and not all of its outputs are stored yet: "
                        f"go on from Python, with autokd.find({self.name!r}, teacher=...)."
                    )
                prepare_answers(plan, answers, self.teacher)

    def _teacher_on_test(self, problem: Problem) -> dict[str, Any]:
        """The teacher's test metrics, as a fact to compare the winners with; none if the teacher is gone."""
        if problem.plan.teacher.source is None and self.teacher is None:
            return {}
        device = torch.device(problem.facts.device)
        dataset = load_data(problem.config.data)
        teacher = (self.teacher or load_teacher(problem.plan.teacher, device, dataset)).to(device)
        if not teacher.knows("test"):
            return {}
        logits = teacher.on_split(dataset, "test", device)
        temperature = problem.facts.teacher_metrics.get("scaling_temperature")
        return {"teacher_test_metrics": label_metrics(logits, dataset.test.labels.to(device), temperature)}


def _place(home: Home | str | Path | None) -> Home:
    return home if isinstance(home, Home) else default_home(home)


def _progress(store: Reader, name: str) -> Progress:
    search = store.search(name)
    progress = measure_progress(search, ladders(store, search.id).values())
    killed = progress.status == "running" and not is_owned(store, name)
    return replace(progress, status="interrupted") if killed else progress


def _executor(config: SearchConfig) -> Executor:
    workers = config.workers
    try:
        return executor(workers.engine, workers.count, Limits(workers.threads, workers.seconds, workers.memory_bytes))
    except WorkerError as error:
        raise InputError(f"workers: {error}") from None


def _may_change(key: str) -> bool:
    return key.partition(".")[0] in RESUMABLE_CHANGES and key != "workers.device"  # the device decides results


def _free_name(name: str, taken: set[str]) -> str:
    numbered = (f"{name}-{number}" for number in range(2, len(taken) + 3))
    return next(candidate for candidate in (name, *numbered) if candidate not in taken)


def _source(data: str | Path | Dataset | Mapping[str, Any], home: Home) -> str:
    """What a configuration says of the data; samples in memory are written to where workers find them."""
    if isinstance(data, str | Path):
        return str(data)
    if isinstance(data, Mapping):
        data = from_arrays(data, "data")
    if not isinstance(data, Dataset):
        raise InputError(
            f"data must be a dict of arrays, an autokd.Dataset or the name of a source, but is a {type(data).__name__}."
        )
    return str(_kept(data, home))


def _kept(dataset: Dataset, home: Home) -> Path:
    """File in which workers, and a later resume, find a data set that was given as an object."""
    path = home.folder / "data" / f"{dataset.digest[:16]}.npz"
    if not path.exists():
        write_atomically(path, lambda temporary: save_npz(dataset, temporary))
    return path
