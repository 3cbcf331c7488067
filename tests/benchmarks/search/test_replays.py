"""Searches over a table that was made by hand."""

from pathlib import Path
from types import ModuleType

import pytest
import replays
from catalogue import TASKS
from optuna.trial import TrialState
from tasks import Task

from autokd.optimizers.halving import HalvingPruner


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, of searches of at most 12 trials."""
    monkeypatch.setattr(replays, "LENGTHS", (12,))
    return replays


def test_the_halves_are_all_tables_once_and_no_data_set_of_cells_is_in_both() -> None:
    tables = [*replays.FITTED, *replays.CHECKED]
    assert len(set(tables)) == len(tables) == 18
    assert sum(replays.seeds_of(name) for name in tables) == 300
    assert set(tables) <= set(TASKS)
    assert not any("cifar100" in name for name in replays.CHECKED)


def test_a_replay_is_told_what_the_table_has_and_prunes_as_halving_does(
    table: ModuleType, laddered: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "load", lambda name, folder: laddered)
    line = table.replay("laddered", 0, Path())
    replayed = table.Replay(laddered, 0, line["params"], line["rows"], line["values"])
    assert [laddered.row(params) for params in replayed.params] == replayed.rows
    for row, values in zip(replayed.rows, replayed.values, strict=True):
        assert values[:2] == [row, 2 * row][: len(values)]
    trials = replayed.study(12).get_trials()
    assert {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    pruner = HalvingPruner(3, rungs=(2, 5))
    first_pruned = next(trial for trial in trials if trial.state == TrialState.PRUNED)
    assert pruner.prune(replayed.study(first_pruned.number + 1), first_pruned)


def test_the_same_seed_gives_the_same_search_and_a_prefix_its_study(
    table: ModuleType, small: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "load", lambda name, folder: small)
    line = table.replay("small", 0, Path())
    assert table.replay("small", 0, Path()) == line
    replayed = table.Replay(small, 0, line["params"], line["rows"], line["values"])
    assert [trial.value for trial in replayed.study(5).get_trials()] == [values[0] for values in line["values"][:5]]
