"""Which earlier searches a new one learns from, and what it can use of them."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from autokd.config.learn_from import is_file
from autokd.config.schema import SearchConfig
from autokd.database.rows import SearchRow
from autokd.errors import InputError, first_line
from autokd.optimizers.earlier import FEWEST_EARLIER
from autokd.searches.choices import Choices
from autokd.searches.earlier import EarlierSearch, EarlierTrial, learns_from
from autokd.searches.reporter import Reporter
from autokd.searches.trial_record import TrialRecord, trial_records
from autokd.searches.workspace import Workspace

__all__ = ["recall", "usable"]

MOST_SEARCHES = 20
"""Most searches that "all" stands for: every proposal asks a model of each."""
MOST_RUNGS = 1000
"""Highest number of a rung in a file, beyond all that a training has."""


def recall(config: SearchConfig, home: Workspace) -> tuple[EarlierSearch, ...]:
    """The trials from which a new search is to learn, as they are now.

    Args:
        config: The new search.
        home: Where searches are recorded.

    Raises:
        InputError: If a search or file that is named does not exist, cannot be read, or has other objectives.
    """
    wanted = config.optimizer.learn_from
    if wanted is None:
        return ()
    recorded = _recorded(config, home) if home.exists else {}
    if wanted == "all":
        return tuple(recorded.values())
    if missing := [name for name in wanted if not is_file(name) and name not in recorded]:
        raise InputError(f"optimizer.learn_from: there is no search {missing[0]!r} in {home.folder}.")
    return tuple(_read(Path(name), config) if is_file(name) else recorded[name] for name in wanted)


def usable(earlier: Iterable[EarlierSearch], choices: Choices, reporter: Reporter) -> tuple[EarlierSearch, ...]:
    """What a search can use of earlier ones.

    Args:
        earlier: The earlier searches.
        choices: What the search chooses from.
        reporter: Hears of what is used and what is left out.
    """
    within = [search.within(choices.distributions) for search in earlier]
    used = tuple(search for search in within if search.n_observed >= FEWEST_EARLIER)
    if choices.config.optimizer.learn_from is not None:
        reporter.notify(f"learns from {learns_from(used) or 'no earlier search'}")
    if left := [f"{search.name} ({search.n_observed})" for search in within if search not in used]:
        why = f"fewer than {FEWEST_EARLIER} of their trials have a value and fit this search"
        reporter.notify(f"does not learn from {', '.join(left)}: {why}")
    return used


def _recorded(config: SearchConfig, home: Workspace) -> dict[str, EarlierSearch]:
    """The wanted searches of the database by name, the oldest first."""
    wanted, objectives = config.optimizer.learn_from or (), config.optimizer.objectives
    with home.open() as store:
        if wanted == "all":
            finished = (row for row in store.searches() if row.status == "finished")
            rows = [row for row in finished if _objectives(row) == objectives][-MOST_SEARCHES:]
        else:
            rows = [row for row in store.searches() if row.name in wanted]
        for row in rows:
            if _objectives(row) != objectives:
                raise InputError(
                    f"optimizer.learn_from: search {row.name!r} has the objectives {_listed(_objectives(row))}, but "
                    f"this one has {_listed(objectives)}."
                )
        costs = config.optimizer.costs
        return {
            row.name: EarlierSearch(row.name, tuple(_trials(trial_records(store, row.id).values(), costs)))
            for row in rows
        }


def _objectives(row: SearchRow) -> tuple[str, ...] | None:
    """The objectives as in the configuration; None for the accuracy alone."""
    recorded = row.config["optimizer"].get("objectives")
    return recorded and tuple(recorded)


def _listed(objectives: Iterable[str] | None) -> str:
    return ", ".join(objectives or ("accuracy",))


def _trials(records: Iterable[TrialRecord], costs: Sequence[str]) -> Iterator[EarlierTrial]:
    """The trials that have ended, or that have a value so far."""
    for record in records:
        values = {} if record.trial.state == "failed" else record.values
        if values or record.trial.state == "failed":
            reports = ((rung, (value, *record.costs(costs))) for rung, value in values.items())
            yield EarlierTrial(dict(record.trial.parameters), tuple(reports))


def _read(file: Path, config: SearchConfig) -> EarlierSearch:
    """The families that `autokd families -o json` printed."""
    if config.optimizer.costs:
        raise InputError(f"optimizer.learn_from: {file} tells accuracies only, but the objectives are several.")
    try:
        return EarlierSearch(str(file), tuple(map(_family, json.loads(file.read_text()))))
    except OSError as error:
        raise InputError(f"optimizer.learn_from: {file}: {error.strerror}.") from None
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise InputError(
            f"optimizer.learn_from: {file} must hold what `autokd families NAME -o json` prints, but: "
            f"{type(error).__name__}: {first_line(error)}."
        ) from None


def _family(family: dict[str, Any]) -> EarlierTrial:
    accuracy, rung, parameters = float(family["observed"]), int(family["rung"]), dict(family["parameters"])
    if not math.isfinite(accuracy) or not 0 <= rung <= MOST_RUNGS:
        got = f"{family['observed']!r:.20} and {family['rung']!r:.20}"
        raise ValueError(f"observed must be finite, and rung 0 to {MOST_RUNGS}, but got {got}")
    if odd := [name for name, value in parameters.items() if not isinstance(value, int | float | str)]:
        raise ValueError(f"parameters must be numbers or texts, but {odd[0]!r} is {parameters[odd[0]]!r}")
    return EarlierTrial(parameters, ((rung, (accuracy,)),))
