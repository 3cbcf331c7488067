"""The progress of a search, computed from all of its trials."""

from collections.abc import Iterable

from autokd.database.rows import SearchRow
from autokd.searches.progress import Progress, Tally
from autokd.searches.trial_record import TrialRecord

__all__ = ["measure_progress"]


def measure_progress(
    search: SearchRow,
    trial_records: Iterable[TrialRecord],
    references: Iterable[TrialRecord] = (),
    prepared: float = 0.0,
) -> Progress:
    """The progress of a search with these trials and references, told to a tally one at a time."""
    tally = Tally(search.facts["classes"])
    for record in trial_records:
        tally.put(record)
    return tally.progress(search, references, prepared)
