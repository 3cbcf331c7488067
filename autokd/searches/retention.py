"""Which files of a search's evaluations are kept, as its rows say.

* A trial or reference that is running or has failed keeps everything: it goes on from its checkpoint.
* A complete or pruned trial keeps the weights of its longest training where `best`, whatever the limits, or `pareto`
  may choose them, or a later student may inherit them. A complete reference keeps those of its longest training.
* A training at full length keeps its weights, and until it is complete its checkpoint.
* Results, which samples were right, and logs are kept: they are small.

Rows come first: a file is removed once the rows say that nobody needs it. They never say otherwise later, since a trial
that is complete or pruned stays so. Files may therefore be removed late, twice, or by a controller that has lost its
search, and what a killed one left is removed by the next.
"""

import os
import re
from bisect import bisect
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from autokd.core.depot import Depot
from autokd.core.files import UNFINISHED
from autokd.database.reading import Reader
from autokd.database.rows import EvaluationRow, StudentRow
from autokd.database.summaries import evaluation_keys
from autokd.evaluation.task import checkpoints, weights_file
from autokd.searches.problem import Problem
from autokd.searches.trial_record import TrialRecord, each_record, reference_records

__all__ = ["Retention", "Surplus", "find_surplus", "remove_files", "remove_surplus", "surplus_of_assistants"]

ENDED = ("complete", "pruned")  # states of trials that never go on
_TRAJECTORY = re.compile(r"[0-9a-f]{24}")
_OURS = re.compile(r"(checkpoint|checkpoint-\d+|best|weights-\d+|correct-\d+)\.safetensors|result-\d+(-test)?\.json")


class Surplus(NamedTuple):
    """Files of a search's evaluations that are not kept.

    Attributes:
        checkpoints: Those of trainings that do not go on.
        weights: Those of students that nothing chooses.
        unfinished: Files that were being written when they were listed; if no worker runs, they stay so.
    """

    checkpoints: list[Path]
    weights: list[Path]
    unfinished: list[Path]


class Retention:
    """The weights that are kept of the trials that have ended.

    Args:
        folder: Folder of the files of all evaluations.
        keeps_sources: Whether later students may inherit the weights of any ended trial.
        depot: The same files at a URL, where workers do not see the folder.
    """

    def __init__(self, folder: Path, keeps_sources: bool, depot: Depot | None = None) -> None:
        self.folder = folder
        self.depot = depot
        self._keeps_sources = keeps_sources
        self._kept: list[_Candidate] = []

    @classmethod
    def of(cls, problem: Problem) -> "Retention":
        """That of a search none of whose trials is known yet to have ended."""
        return cls(problem.evaluations, problem.config.training.warm_start > 0, problem.depot)

    def end(self, records: Iterable[TrialRecord]) -> tuple[list[Path], list[Path]]:
        """Checkpoints and weights that are not kept any more now that these trials and references have ended."""
        needless: list[Path] = []
        surplus: list[Path] = []
        candidates: list[_Candidate] = []
        for record in records:
            for student, rows in _trained(record):
                needless += [file for row in rows for file in checkpoints(self.folder, row.key)]
                surplus += [weights_file(self.folder, row.key) for row in rows[:-1]]
                if record.trial.reference is None and not self._keeps_sources:
                    candidates.append(_Candidate.of(student, rows[-1]))
        before, self._kept = self._kept, _choosable(self._kept, candidates)
        kept = {each.key for each in self._kept}
        surplus += [weights_file(self.folder, each.key) for each in (*before, *candidates) if each.key not in kept]
        return needless, surplus


def find_surplus(store: Reader, search_id: int, retention: Retention) -> Surplus:
    """The files that are not kept, on disk or in the depot; those of evaluations that it does not have are left out.

    Files are listed before rows are read: whoever writes a file has recorded its evaluation before.

    Args:
        store: The search's database.
        search_id: Id of the search.
        retention: That of the search; it knows the ended trials afterwards.
    """
    finished, unfinished = _ours(retention.folder)
    finished += sorted(_in_depot(retention.folder, retention.depot) - set(finished))
    records = chain(each_record(store, search_id, architectures=False), reference_records(store, search_id))
    needless, surplus = retention.end(record for record in records if record.trial.state in ENDED)
    trained = (row.key for row in store.evaluations(search_id, "final") if row.state == "complete")
    needless += [file for key in trained for file in checkpoints(retention.folder, key)]
    known = {key.split("-")[0] for key in evaluation_keys(store, search_id)}
    return Surplus(
        checkpoints=_among(finished, needless),
        weights=_among(finished, surplus),
        unfinished=[file for file in unfinished if file.parent.name in known],
    )


def remove_surplus(store: Reader, search_id: int, retention: Retention) -> None:
    """Remove the files that are not kept, while none of the search's workers runs.

    Args:
        store: The search's database.
        search_id: Id of the search.
        retention: That of the search; it knows the ended trials afterwards.
    """
    for files in find_surplus(store, search_id, retention):
        remove_files(files, retention.depot)


def surplus_of_assistants(problem: Problem) -> list[Path]:
    """Checkpoints and weights of trainings of assistants, on disk or in the depot, that were not kept.

    There are none before all assistants are trained.
    """
    if problem.panel is None or problem.facts.panel is None:
        return []
    folder = problem.panel_folder
    kept = {weights_file(folder, key) for key in problem.facts.panel.keys}
    there = {*_ours(folder)[0], *_in_depot(folder, problem.depot)} - kept
    return sorted(file for file in there if file.name.startswith(("checkpoint", "best", "weights")))


def remove_files(files: Iterable[Path], depot: Depot | None) -> None:
    """Remove files, some of which may be gone; one that cannot be removed is left to `gc`, which says why.

    Args:
        files: The files.
        depot: Where else they are.

    Raises:
        DepotError: If the depot cannot be used.
    """
    files = list(files)
    if depot is not None:
        depot.remove(files)
    for file in files:
        with suppress(OSError):
            file.unlink(missing_ok=True)


class _Candidate(NamedTuple):
    """A student of an ended trial, with the key of its longest evaluation."""

    rank: tuple[float, float, int]
    costs: tuple[int, int, int, int]
    key: str

    @classmethod
    def of(cls, student: StudentRow, row: EvaluationRow) -> "_Candidate":
        rank = -row.epochs, -float((row.metrics or {})["accuracy"]), student.id
        return cls(rank, (student.params, student.macs, student.activation_bytes, student.model_bytes), row.key)


def _choosable(kept: list[_Candidate], new: Iterable[_Candidate]) -> list[_Candidate]:
    """Those that are the best within some limits: no better one costs as little in everything; the best first.

    Args:
        kept: Those of the candidates so far, in order.
        new: Further candidates.
    """
    costs = np.array([each.costs for each in kept], dtype=np.int64).reshape(-1, 4)
    for each in sorted(new):
        place = bisect(kept, each)
        if (costs[:place] <= each.costs).all(1).any():
            continue
        stay = place + np.flatnonzero((costs[place:] < each.costs).any(1))
        kept = [*kept[:place], each, *(kept[other] for other in stay)]
        costs = np.vstack([costs[:place], each.costs, costs[stay]])
    return kept


def _trained(record: TrialRecord) -> Iterator[tuple[StudentRow, list[EvaluationRow]]]:
    """The students of a trial with their complete evaluations, the longest last."""
    for student in record.students:
        rows = [row for row in record.evaluations if row.student_id == student.id and row.state == "complete"]
        if rows:
            yield student, rows


def _ours(folder: Path) -> tuple[list[Path], list[Path]]:
    """Files that evaluations have written, and those that they had begun to write."""
    finished, unfinished = [], []
    for place, _, names in os.walk(folder):  # which passes over what has vanished in the meantime
        trajectory = Path(place)
        if trajectory.parent == folder and _TRAJECTORY.fullmatch(trajectory.name):
            finished += [trajectory / name for name in sorted(names) if _OURS.fullmatch(name)]
            unfinished += [trajectory / name for name in sorted(names) if _is_unfinished(name)]
    return finished, unfinished


def _in_depot(folder: Path, depot: Depot | None) -> set[Path]:
    """Files that evaluations have left in the depot."""
    there = {} if depot is None else depot.sizes(folder)
    return {file for file in there if _TRAJECTORY.fullmatch(file.parent.name) and _OURS.fullmatch(file.name)}


def _is_unfinished(name: str) -> bool:
    found = UNFINISHED.fullmatch(name)
    return found is not None and (found["name"] is None or _OURS.fullmatch(found["name"]) is not None)


def _among(files: Iterable[Path], chosen: Iterable[Path]) -> list[Path]:
    wanted = set(chosen)
    return [file for file in files if file in wanted]
