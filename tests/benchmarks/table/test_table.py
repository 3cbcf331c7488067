"""The table's entries, and the file into which rows are packed."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def entries(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(HERE / "entries.py")


@pytest.fixture
def pack(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(HERE / "pack.py")


def row(number: int, accuracy: float, **changes: Any) -> dict[str, Any]:
    rungs = [{"accuracy": accuracy - 0.1}, {"accuracy": accuracy, "test_accuracy": accuracy}]
    own = {"number": number, "task": "main", "space": "nago", "repeat": 0, "in_full": False, "rungs": rungs}
    return own | changes


def test_tasks_and_spaces_have_their_shares_and_meet(entries: ModuleType) -> None:
    every = list(entries.entries(1000))
    for name, task in entries.TASKS.items():
        assert sum(entry.task == name for entry in every) == 100 * task.weight
    for name, (weight, _) in entries.SPACES.items():
        assert sum(entry.space == name for entry in every) == 100 * weight
        own = [entry.task for entry in every if entry.space == name]
        assert own.count("main") == pytest.approx(70 * weight, abs=15)
        assert set(own) == set(entries.TASKS)


def test_more_entries_leave_the_first_ones_as_they_are(entries: ModuleType) -> None:
    assert list(entries.entries(400))[:150] == list(entries.entries(150))


def test_a_fifth_is_repeated_and_a_twentieth_trained_in_full(entries: ModuleType) -> None:
    every = list(entries.trainings(1200))
    assert len({training.key for training in every}) == len(every)
    assert 200 <= sum(training.repeat == 2 for training in every) <= 280
    assert 45 <= sum(training.in_full for training in every) <= 80


def test_a_packed_table_is_read_back_and_of_two_rows_of_a_training_the_first_counts(
    pack: ModuleType, tmp_path: Path
) -> None:
    from_one, from_other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    for file, rows in ((from_one, [row(1, 0.8), row(0, 0.7)]), (from_other, [row(1, 0.1), row(1, 0.9, repeat=1)])):
        file.write_text("".join(json.dumps(each) + "\n" for each in rows))
    rows = pack.merged([from_one, from_other])
    assert [(each["number"], each["repeat"], each["rungs"][-1]["accuracy"]) for each in rows] == [
        (0, 0, 0.7),
        (1, 0, 0.8),
        (1, 1, 0.9),
    ]
    pack.write(rows, tmp_path / "table.xz")
    assert pack.load(tmp_path / "table.xz") == rows


def test_a_row_says_by_which_code_it_was_made(
    load_script: Callable[[Path], ModuleType], pack: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(HERE)
    make, file = load_script(HERE / "make.py"), tmp_path / "rows.jsonl"
    monkeypatch.setattr(make, "commit", lambda: "c0ffee+")
    monkeypatch.setattr(make.Bench, "row", lambda bench, training: row(training.entry.number, 0.9, seconds=1.0))
    monkeypatch.setattr(sys, "argv", ["make.py", str(file), "--entries", "1"])
    make.main()
    old = tmp_path / "old.jsonl"
    old.write_text(json.dumps(row(1, 0.8)) + "\n")
    assert [each.get("commit") for each in pack.merged([file, old])] == ["c0ffee+", None]


def test_the_summary_tells_noise_and_rank_correlation(pack: ModuleType) -> None:
    full = [row(number, 0.8 + 0.01 * number, in_full=True) for number in range(3)]
    short = [row(number, 0.7 + 0.01 * number) for number in range(3)]
    again = row(0, 0.72, repeat=1)  # 0.70 and 0.72: a standard deviation of 1.41 points
    text = "\n".join(pack.summary([*full, *short, again, {**row(3, 0.5), "failure": "diverged"}]))
    assert "8 trainings of 4 entries, 1 failed" in text
    assert "| main | nago | 3 | 70.0, 71.0, 72.0 | 1.41 |" in text
    assert "| 1 | 1.00 |" in text
