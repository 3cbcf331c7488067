from dataclasses import replace
from pathlib import Path

from records import Record, Run, append, read, read_all

RUN = Run("F", "A", "", 0, "s")
RECORD = Record(RUN, {"test": 1 / 3}, {"params": 7}, {"test": 0.9}, 5, 8, 0.25, None, {"families": []}, {"torch": "2"})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    other = replace(RECORD, run=replace(RUN, seed=1), metrics={}, failure="DivergedError: loss is nan")
    for record in (RECORD, other):
        append(tmp_path / "results.jsonl", record)
    assert read(tmp_path / "results.jsonl") == {RUN: RECORD, other.run: other}


def test_a_torn_line_costs_its_own_run_only(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    for seed in (0, 1):
        append(file, replace(RECORD, run=replace(RUN, seed=seed)))
    file.write_text(file.read_text()[:-20])
    append(file, replace(RECORD, run=replace(RUN, seed=2)))
    assert [run.seed for run in read(file)] == [0, 2]


def test_files_of_several_machines_count_together_the_first_record_of_a_run_first(tmp_path: Path) -> None:
    for name, images in (("a", 1), ("b", 2)):
        append(tmp_path / name, replace(RECORD, images=images))
    append(tmp_path / "b", replace(RECORD, run=replace(RUN, arm="B")))
    found = read_all(tmp_path / "a", tmp_path / "b", tmp_path / "missing")
    assert [(run.arm, record.images) for run, record in found.items()] == [("A", 1), ("B", 8)]
