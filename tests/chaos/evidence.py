"""What a search has left behind: its rows, its events and the folder of its files."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from autokd.database.errors import DatabaseError, UnknownSearch
from autokd.database.rows import EvaluationRow, EventRow, SearchRow, StudentRow, TrialRow
from autokd.errors import InputError
from autokd.searches.damage import damaged_rows
from autokd.searches.workspace import Workspace

__all__ = ["Evidence", "read_events", "read_evidence"]

_CLOCKS = {"created_at", "finished_at", "seconds", "epoch_seconds", "worker"}
_IDS = {"id", "search_id", "trial_id", "student_id"}  # a server skips some where a transaction failed


@dataclass(frozen=True)
class Evidence:
    """What a search has left behind at one moment.

    Attributes:
        folder: Folder of all searches.
        search: Its row.
        trials: Its trials and references.
        students: Their students, those of full-length trainings among them.
        evaluations: Their evaluations.
        events: Its events.
        damages: What the product itself finds wrong with its rows, one line each.
        spoilt: Inodes of files that were damaged on purpose, by their paths; another inode is a new file.
    """

    folder: Path
    search: SearchRow
    trials: tuple[TrialRow, ...]
    students: tuple[StudentRow, ...]
    evaluations: tuple[EvaluationRow, ...]
    events: tuple[EventRow, ...]
    damages: tuple[str, ...] = ()
    spoilt: Mapping[Path, int] = field(default_factory=dict)

    @property
    def evaluations_folder(self) -> Path:
        """Folder of the files of its evaluations."""
        return self.folder / "searches" / self.search.name / "evaluations"

    @property
    def history(self) -> dict[str, dict[str, Any]]:
        """All that its rows say but clocks and ids, by what the row is about."""
        names = {row.id: f"trial {row.number}" for row in self.trials}
        drawn = {row.id: f"{names.get(row.trial_id)}, {row.purpose} student {row.replicate}" for row in self.students}
        said = {names[row.id]: _said(row) for row in self.trials}
        said |= {drawn[row.id]: _said(row) for row in self.students}
        return said | {f"{drawn.get(row.student_id)}, rung {row.rung}": _said(row) for row in self.evaluations}


def _said(row: TrialRow | StudentRow | EvaluationRow) -> dict[str, Any]:
    return {name: value for name, value in asdict(row).items() if name not in _CLOCKS | _IDS}


def read_evidence(workspace: Workspace, name: str) -> Evidence | None:
    """What a search has left behind, or None if it is not recorded. Its controller must be dead or stopped.

    Args:
        workspace: Where it is.
        name: Its name.
    """
    if not workspace.exists:
        return None
    try:
        with workspace.open(create=True) as store:  # a controller may have been killed before there were tables
            search = store.search(name)
            return Evidence(
                workspace.folder,
                search,
                (*store.trials(search.id), *store.references(search.id)),
                tuple(store.students(search.id)),
                tuple(store.evaluations(search.id)),
                tuple(store.events(search.id)),
                tuple(map(str, damaged_rows(store, workspace.folder))),
            )
    except UnknownSearch:
        return None


def read_events(workspace: Workspace, name: str) -> tuple[EventRow, ...]:
    """The events of a search whose controller may run; none where they cannot be read now.

    Args:
        workspace: Where it is.
        name: Its name.
    """
    try:
        with workspace.open() as store:
            return tuple(store.events(store.search(name).id))
    except (DatabaseError, InputError):
        return ()
