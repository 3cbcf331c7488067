"""Failed trials, opened again."""

from collections.abc import Sequence

from autokd.database.lease_keeper import StopRequest, owning
from autokd.database.store import Store
from autokd.searches.trial_record import TrialRecord, latest_references, search_records

__all__ = ["reopen"]


def reopen(store: Store, name: str, of_their_own: bool = False) -> Sequence[TrialRecord]:
    """Open trials and references again that failed by a worker's fault, and return them as they were.

    The search is interrupted afterwards, also if it was finished; a kill in between leaves some of them open. Where
    there is none, nothing is written.

    Args:
        store: The database.
        name: Name of the search.
        of_their_own: Whether to open also those that failed by their own fault, and will probably fail again.

    Raises:
        UnknownSearch: If there is no such search.
        LeaseHeld: If a controller runs it.
    """
    if not _reopened(store, store.search(name).id, of_their_own):
        return []
    with owning(store, name, StopRequest()) as lease:
        chosen = _reopened(store, lease.search_id, of_their_own)
        if chosen:
            store.set_status(lease, "interrupted")
        for record in chosen:
            store.reopen_trial(lease, record.trial.id)
    return chosen


def _reopened(store: Store, search_id: int, of_their_own: bool) -> list[TrialRecord]:
    """The failed trials and references to open again."""
    trials, references = search_records(store, search_id)
    candidates = (*latest_references(references).values(), *trials.values())
    failed = [record for record in candidates if record.trial.state == "failed"]
    return [record for record in failed if of_their_own or record.is_workers_fault]
