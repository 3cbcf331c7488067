"""The state of a running search in memory, equal at any time to what its rows say."""

from heapq import heappop, heappush
from typing import Self

from autokd.database.reading import Reader
from autokd.database.rows import EvaluationRow, SearchRow, StudentRow, TrialRow
from autokd.searches.problem import Problem
from autokd.searches.progress import Progress, Tally
from autokd.searches.proposals import Proposer
from autokd.searches.trial_record import TrialRecord, each_record, reference_records

__all__ = ["SearchState"]


class SearchState:
    """All that the decisions of a search depend on.

    Only the owner of a search writes to it. So its rows are read once; after that each row that the owner writes
    brings the state up to date, and it is the same as if all were read again.

    Args:
        problem: What is searched.

    Attributes:
        proposer: The optimiser, which knows all trials.
        ended: The trials that ended, if students inherit weights from theirs; otherwise none is kept.
    """

    def __init__(self, problem: Problem) -> None:
        self._keeps_ended = bool(problem.config.training.warm_start)
        self._running: dict[int, TrialRecord] = {}  # by id, as what follows; references, too
        self._references: dict[int, TrialRecord] = {}
        self._changed: list[tuple[bool, int, int]] = []  # a heap: see `take_changed`
        self._listed: set[int] = set()  # ids that are in it
        self._tally = Tally(problem.facts.classes)
        self.proposer = Proposer(problem)
        self.ended: list[TrialRecord] = []

    @classmethod
    def read(cls, problem: Problem, store: Reader, search_id: int) -> Self:
        """The state that the rows of a search tell.

        Args:
            problem: What is searched.
            store: The search's database.
            search_id: Its id there.
        """
        state = cls(problem)
        for record in reference_records(store, search_id):
            state._put(record)
        for record in each_record(store, search_id, architectures=state._keeps_ended):
            state._put(record)
        return state

    @property
    def references(self) -> list[TrialRecord]:
        """The references, in the order in which they were opened."""
        return list(self._references.values())

    @property
    def n_trials(self) -> int:
        """Number of trials that were opened."""
        return self._tally.n_trials

    @property
    def n_ended(self) -> int:
        """Number of trials that ended."""
        return self._tally.n_ended

    @property
    def worker_seconds(self) -> float:
        """Seconds that evaluations took in their workers, those of references included."""
        return float(sum((record.seconds for record in self._references.values()), self._tally.spent))

    def progress(self, search: SearchRow, prepared: float = 0.0) -> Progress:
        """How far the search is.

        Args:
            search: Its row.
            prepared: Seconds that the teacher's outputs took before the first trial.
        """
        return self._tally.progress(search, self._references.values(), prepared)

    def update(self, row: TrialRow | StudentRow | EvaluationRow) -> None:
        """Take in a row that was written."""
        trial_id = row.id if isinstance(row, TrialRow) else row.trial_id
        if isinstance(row, TrialRow) and trial_id not in self._running:
            self._put(TrialRecord(row, (), ()))
        else:
            before = self._running[trial_id]
            self._put(before.with_row(row), is_measured=not _begins(row, before))

    @property
    def has_changed(self) -> bool:
        """Whether `take_changed` may return something."""
        return bool(self._changed)

    def take_changed(self) -> TrialRecord | None:
        """The next running trial or reference of which something was read or written since it was last taken.

        References come first, in the order in which they were opened, then trials by number. None if there is none.
        """
        while self._changed:
            trial_id = heappop(self._changed)[-1]
            self._listed.remove(trial_id)
            if trial_id in self._running:
                return self._running[trial_id]
        return None

    def _put(self, record: TrialRecord, is_measured: bool = True) -> None:
        """Add a trial or reference, or put it in the place of what it was before.

        Args:
            record: The trial or reference.
            is_measured: Whether the optimiser knows more of it now.
        """
        trial = record.trial
        if trial.reference is not None:
            self._references[trial.id] = record
        else:
            self._tally.put(record)
            if is_measured:
                self.proposer.put(record)
        if trial.state == "running":
            self._running[trial.id] = record
            self._add_changed(trial)
            return
        self._running.pop(trial.id, None)
        if self._keeps_ended and trial.reference is None:
            self.ended.append(record)

    def _add_changed(self, trial: TrialRow) -> None:
        """Let `take_changed` return the trial; the numbers of references count down from -1."""
        if trial.id not in self._listed:
            self._listed.add(trial.id)
            heappush(self._changed, (trial.reference is None, abs(trial.number), trial.id))


def _begins(row: TrialRow | StudentRow | EvaluationRow, before: TrialRecord) -> bool:
    """Whether a trial only goes on with this row: its first students, or an evaluation that runs."""
    if isinstance(row, EvaluationRow):
        return row.state == "running"
    return isinstance(row, StudentRow) and not before.evaluations
