"""The part of a search's trials from which figures are computed where there are very many.

What is shown must not take longer the longer a search was. Up to a number of trials all are read; beyond, some are
chosen from their rows alone. Whoever shows a figure says of how many trials it is.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from autokd.database.reading import Reader
from autokd.database.rows import TrialOutcome, TrialState
from autokd.searches.trial_record import TrialRecord, trial_records
from search_spaces.design.budget import Budget

__all__ = [
    "MANY",
    "MOST_CLIMBED",
    "MOST_OBSERVATIONS",
    "TrialOutcome",
    "is_part",
    "read_outcomes",
    "records_to_rank",
    "spread_records",
]

MANY = 500  # most trials of which all are ranked: the model's time is cubic in their number
N_BEST, N_SPREAD = 200, 100  # of more trials
MOST_OBSERVATIONS = 400  # from which the model then learns, a trial having one at each of its rungs
MOST_CLIMBED = 1000  # trials at the last rung of which lower rungs are judged: a standard error of 0.03


def records_to_rank(store: Reader, search_id: int, within: Budget | None = None) -> Sequence[TrialRecord]:
    """The trials whose families are ranked, and from which the model learns that ranks them, by number.

    Of more than `MANY` they are the best, and others spread evenly over the search, without which the model would know
    nothing of bad ones. See `is_part`.

    Args:
        store: The search's database.
        search_id: Id of the search.
        within: Limits that the first students of the best ones keep.
    """
    numbers: Sequence[int] = range(store.n_trials(search_id))
    if len(numbers) > MANY:
        best = set(store.best_trials(search_id, N_BEST, within.limits if within else {}))
        numbers = [*best, *_spread([each for each in numbers if each not in best], N_SPREAD)]
    ids = store.trial_ids(search_id, numbers=numbers)
    return list(trial_records(store, search_id, ids, architectures=False).values())


def is_part(trial_records: Collection[TrialRecord]) -> bool:
    """Whether trials of a search, by number, are not all up to the last of them."""
    return any(place != record.trial.number for place, record in enumerate(trial_records))


def spread_records(store: Reader, search_id: int, most: int, *states: TrialState) -> Sequence[TrialRecord]:
    """Trials of some states or all, by number; where there are more than `most`, so many, spread evenly.

    Args:
        store: The search's database.
        search_id: Id of the search.
        most: Largest number of trials.
        states: Their states; none for all.
    """
    ids = _spread(store.trial_ids(search_id, *states), most)
    return list(trial_records(store, search_id, ids, architectures=False).values())


def read_outcomes(store: Reader, search_id: int, costs: Sequence[str]) -> list[TrialOutcome]:
    """Number, state and values of all trials, by number; a running one has the value of its highest rung so far.

    Args:
        store: The search's database.
        search_id: Id of the search.
        costs: Names of the costs that are objectives.
    """
    running = trial_records(store, search_id, store.trial_ids(search_id, "running"), architectures=False)
    outcomes = store.trial_outcomes(search_id)
    for number, record in running.items():
        if record.values:
            outcomes[number] = replace(outcomes[number], value=record.best_value, costs=record.costs(costs) or None)
    return outcomes


def _spread(trials: Sequence[int], most: int) -> Sequence[int]:
    n = len(trials)
    return trials if n <= most else [trials[place * n // most] for place in range(most)]
