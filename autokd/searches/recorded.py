"""A recorded search: what it found so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from autokd.config.objectives import Against
from autokd.config.parsing import recorded_config
from autokd.config.schema import SearchConfig
from autokd.database.rows import EventRow, SearchRow, TrialState
from autokd.database.summaries import evaluation_totals, mean_costs
from autokd.errors import AutoKDError, InputError, first_line
from autokd.searches.axes import search_cost, three_axes
from autokd.searches.comparison import Comparison, compare
from autokd.searches.data_from_python import with_saved
from autokd.searches.facts import Facts
from autokd.searches.pareto import pareto_fronts
from autokd.searches.part import MANY, TrialOutcome, read_outcomes, records_to_rank, spread_records
from autokd.searches.problem import Problem
from autokd.searches.progress import Progress, Training, current_progress, is_running
from autokd.searches.remarks import search_remarks
from autokd.searches.retraining import trainings
from autokd.searches.session import naming_search
from autokd.searches.stopping import Outlook, is_enough, outlook
from autokd.searches.students import (
    TrainedStudent,
    best_students,
    leading_students,
    trained_references,
    trained_students,
    with_architectures,
)
from autokd.searches.study import to_study
from autokd.searches.tables import count, counted, percent
from autokd.searches.times import Times, measure_times
from autokd.searches.trial_record import TrialRecord, each_record, latest_references, reference_records, trial_records
from autokd.searches.workspace import Workspace
from search_spaces.design.budget import Budget

if TYPE_CHECKING:
    import pandas

    from autokd.optimizers.models.signal_to_noise import SignalToNoise
    from autokd.searches.families import Family

__all__ = ["RecordedSearch"]

T = TypeVar("T")


@dataclass(frozen=True, repr=False)
class RecordedSearch:
    """A recorded search: what it found so far. Every property is read from the database anew.

    Attributes:
        home: Where it is recorded.
        name: Its name.
    """

    home: Workspace
    name: str

    def __repr__(self) -> str:
        try:
            progress = self.progress
        except AutoKDError as error:
            return f"<SearchResult {self.name!r}: {first_line(error)}>"
        best = f"best {percent(progress.best_accuracy)} with {count(progress.best_params)} parameters"
        trials = f"{progress.status}, {progress.finished} of {counted(progress.n_trials, 'trial')}"
        return f"<SearchResult {self.name!r}: {trials}, {'no student yet' if progress.best_trial is None else best}>"

    @property
    def row(self) -> SearchRow:
        """Status, configuration and facts as recorded."""
        with self.home.open() as store:
            return store.search(self.name)

    @property
    def config(self) -> SearchConfig:
        """The configuration."""
        return self._config_of(self.row)

    @property
    def problem(self) -> Problem:
        """What is searched."""
        return self.problem_of(self.row)

    def problem_of(self, row: SearchRow) -> Problem:
        """What is searched, by the search's row as it was read."""
        return Problem(self._config_of(row), Facts.from_dict(row.facts), self.home.folder)

    def _config_of(self, row: SearchRow) -> SearchConfig:
        return with_saved(recorded_config(dict(row.config), f"search {self.name}"), self.home)

    @property
    def trials(self) -> list[TrialRecord]:
        """All trials with their students and evaluations, by number."""
        with self.home.open() as store:
            return list(trial_records(store, store.search(self.name).id).values())

    def trial(self, number: int | str) -> TrialRecord:
        """One trial by its number, or one reference by its name.

        Raises:
            InputError: If there is none.
        """
        with self.home.open() as store:
            search_id = store.search(self.name).id
            n, references = store.n_trials(search_id), latest_references(reference_records(store, search_id))
            if str(number) in references:
                return references[str(number)]
            if str(number) in map(str, range(n)):
                ids = store.trial_ids(search_id, numbers=[int(number)])
                return trial_records(store, search_id, ids)[int(number)]
        allowed = [f"0..{n - 1}"] if n else ["none yet"]
        raise InputError(f"search {self.name!r} has no trial {number}: there are {', '.join([*allowed, *references])}.")

    def spread(self, most: int, *states: TrialState) -> Sequence[TrialRecord]:
        """At most so many trials, of some states or all, spread evenly over the search, by number.

        Args:
            most: Largest number of trials.
            states: Their states; none for all.
        """
        with self.home.open() as store:
            return spread_records(store, store.search(self.name).id, most, *states)

    @property
    def outcomes(self) -> list[TrialOutcome]:
        """Number, state and values of all trials, by number, see `read_outcomes`."""
        with self.home.open() as store:
            return read_outcomes(store, store.search(self.name).id, self.problem.costs)

    @property
    def progress(self) -> Progress:
        """How far the search is."""
        with self.home.open() as store:
            return current_progress(store, store.search(self.name), self.home)

    @property
    def times(self) -> Times:
        """What the search spent its time on so far."""
        with self.home.open() as store:
            search = store.search(self.name)
            final = {student.id for student in store.students(search.id, "final")}
            return measure_times(store.outline(search.id), final, search.facts.get("data_seconds"))

    def last_events(self, n: int) -> list[EventRow]:
        """The last `n` events of the search, the newest last."""
        with self.home.open() as store:
            return store.last_events(store.search(self.name).id, n)

    @property
    def students(self) -> Sequence[TrainedStudent]:
        """All students that were trained, the best first; see `references` for those."""
        problem = self.problem
        with self.home.open() as store:
            return trained_students(problem, store, store.search(self.name).id)

    @property
    def references(self) -> Sequence[TrainedStudent]:
        """The references that were trained, the best first: `trial.reference` is the name of one."""
        problem = self.problem
        with self.home.open() as store:
            return trained_references(problem, store, store.search(self.name).id)

    @property
    def leading(self) -> Sequence[TrainedStudent]:
        """The `students` that trained longest or at full length, and those of references, without architectures."""
        problem = self.problem
        with self.home.open() as store:
            return leading_students(problem, store, store.search(self.name).id)

    def mean_costs(self, *names: Against) -> Mapping[int, Sequence[float]]:
        """Means of these costs over the students of each trial, by its number."""
        with self.home.open() as store:
            return mean_costs(store, store.search(self.name).id, *names)

    def compare(self, student: TrainedStudent | None = None) -> Comparison | None:
        """A student, by default the best, beside the best reference trained as long; None before there is one."""
        student = student or next(iter(self.students), None)
        if student is None:
            return None
        with self.home.open() as store:
            return compare(student.problem, store, store.search(self.name).id, student)

    @property
    def best(self) -> TrainedStudent:
        """The best student: of the full-length training if there was one, else of the search.

        Raises:
            InputError: If no student was trained yet.
        """
        return self.best_within(Budget())

    def best_within(self, within: Budget) -> TrainedStudent:
        """The best of the students that keep further limits, such as `Budget(macs=3_000_000)`; see `best`.

        Raises:
            InputError: If there is none yet.
        """
        problem = self.problem
        with self.home.open() as store:
            search_id = store.search(self.name).id
            students = best_students(problem, store, search_id, within)
            best = next((student for student in students if within.fits(student.row.cost)), None)
            return with_architectures(store, search_id, [self._found(best, within)])[0]

    def pareto(self, *against: Against) -> list[TrainedStudent]:
        """The students and references that are best for their size, see `pareto_fronts`.

        Args:
            against: Costs that are to be small; by default those that are objectives of the search, or the parameters.
        """
        problem = self.problem
        with self.home.open() as store:
            search_id = store.search(self.name).id
            fronts = pareto_fronts(leading_students(problem, store, search_id), *(against or problem.costs))
            return with_architectures(store, search_id, fronts)

    @property
    def front(self) -> list[TrainedStudent]:
        """The students and references of the highest rung that no other one there exceeds in all objectives."""
        return [student for student in self.pareto() if not student.is_final]

    def axes(self, student: TrainedStudent) -> dict[str, dict[str, Any]]:
        """Figures of a student beside its teacher: effectiveness, lightness and computation, see `three_axes`."""
        return three_axes(student, self.row)

    @property
    def search_cost(self) -> dict[str, float | None]:
        """What all trainings of the search cost so far, see `autokd.searches.axes.search_cost`."""
        problem = self.problem
        with self.home.open() as store:
            return search_cost(problem, evaluation_totals(store, store.search(self.name).id))

    @property
    def families(self) -> "list[Family]":
        """The families searched, the best first, with what the model believes; of very many a part, see `part`."""
        return self._ranked(self._to_rank())

    def _to_rank(self, within: Budget | None = None) -> Sequence[TrialRecord]:
        with self.home.open() as store:
            return records_to_rank(store, store.search(self.name).id, within)

    def _ranked(self, trials: Sequence[TrialRecord]) -> "list[Family]":
        from autokd.searches.families import rank_families  # loads the model

        with naming_search(self.name):
            return rank_families(self.problem, trials)

    @property
    def outlook(self) -> Outlook | None:
        """What the model believes of the winner, and of 20 more trials; None while there is no family."""
        return self.judgement[1]

    @property
    def judgement(self) -> "tuple[list[Family], Outlook | None]":
        """Both `families` and `outlook`, for which they are ranked once."""
        trials = self._to_rank()
        families = self._ranked(trials)
        with naming_search(self.name):
            return families, outlook(self.problem, trials, families, self._is_enough)

    @property
    def flatness(self) -> "SignalToNoise | None":
        """How much the families differ, compared with the noise of a trial; None while trials are too few to tell.

        Where `is_flat` is true, the order of the families is mostly luck.
        """
        from autokd.searches.flatness import MOST_TRIALS, flatness  # loads the model

        with self.home.open() as store:
            search_id = store.search(self.name).id
            first = trial_records(store, search_id, store.trial_ids(search_id, "complete", most=MOST_TRIALS), False)
        with naming_search(self.name):
            return flatness(self.problem, first.values())

    @property
    def importances(self) -> dict[str, float]:
        """How much each searched dimension decides the accuracy, as shares of 1, the most important first.

        Raises:
            InputError: If there are too few finished trials to tell.
        """
        from autokd.optimizers.importance import importances  # loads the model

        problem = self.problem
        return importances(to_study(self.spread(MANY), problem.distributions), problem.dimensions)

    @property
    def remarks(self) -> list[str]:
        """Lines about trials that failed or learnt nothing, families that hardly differ, and an end by `stop.gain`."""
        remarks = search_remarks(self.progress, self.flatness, self.command("retry"), self._is_enough)
        return [f"{word}: {line}" for word, line in remarks]

    @property
    def _is_enough(self) -> bool:
        """Whether further trials would gain less than `stop.gain`."""
        problem = self.problem
        if not problem.config.stop.gain:
            return False
        with self.home.open() as store:
            trials = list(each_record(store, store.search(self.name).id, architectures=False))
        with naming_search(self.name):
            return is_enough(problem, trials)

    def trials_dataframe(self) -> "pandas.DataFrame":
        """All trials as Optuna's `study.trials_dataframe` shows them: number, value, times, parameters and state.

        Raises:
            InputError: If pandas is not installed.
        """
        if find_spec("pandas") is None:
            raise InputError("trials_dataframe needs pandas: pip install pandas.")
        problem = self.problem
        return to_study(self.trials, problem.distributions, costs=problem.costs).trials_dataframe()

    @property
    def trainings(self) -> list[Training]:
        """How far the full-length trainings are."""
        with self.home.open() as store:
            search = store.search(self.name)
            found = trainings(self.problem_of(search), store, search.id)
            return found if is_running(store, search) else [each.at_rest for each in found]

    def command(self, verb: str) -> str:
        """The command line that does this with the search."""
        return f"autokd {verb} {self.name}{self.home.option}"

    def _found(self, found: T | None, within: Budget) -> T:
        """What was found; an `InputError` if that is nothing."""
        if found is None:
            limits = ", ".join(f"{name} <= {limit:,}" for name, limit in within.limits.items())
            raise InputError(f"search {self.name!r} has no trained student{limits and f' of {limits}'} yet.")
        return found
