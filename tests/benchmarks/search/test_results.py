import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from results import Result, Run, append, read
from runner import Shorter, Trace

RUN = Run("small", "random", "v1", seed=0, workers=1, evaluations=2)
SHORTER = [Shorter(row=7, rung=0, value=-0.1, worth=0.2, finished=0.5)]
TRACE = Trace([7, 3], [-math.inf, 0.1], [0.2, 0.1], [1.0, 2.5], [0.0, 1e-9], SHORTER)
RESULT = Result(RUN, 1 / 3, TRACE)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    other = replace(RESULT, run=replace(RUN, seed=1))
    for result in (RESULT, other):
        append(tmp_path / "results.jsonl", result)
    assert read(tmp_path / "results.jsonl") == {RUN: RESULT, other.run: other}


def test_no_file_holds_no_results(tmp_path: Path) -> None:
    assert read(tmp_path / "results.jsonl") == {}


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_torn_line_costs_its_own_run_only(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "results.jsonl"
    for seed in (0, 1):
        append(file, replace(RESULT, run=replace(RUN, seed=seed)))
    file.write_text(file.read_text()[: -cut - 1])
    append(file, replace(RESULT, run=replace(RUN, seed=2)))
    assert [run.seed for run in read(file)] == [0, 2]


def test_the_first_of_two_results_of_one_run_counts(tmp_path: Path) -> None:
    for optimum in (1.0, 2.0):
        append(tmp_path / "results.jsonl", replace(RESULT, optimum=optimum))
    assert [result.optimum for result in read(tmp_path / "results.jsonl").values()] == [1.0]


def test_a_line_that_lacks_what_is_written_down_today_does_not_count(tmp_path: Path) -> None:
    append(tmp_path / "results.jsonl", RESULT)
    fields = json.loads((tmp_path / "results.jsonl").read_text())
    del fields["rows"]
    (tmp_path / "results.jsonl").write_text(json.dumps(fields) + "\n")
    append(tmp_path / "results.jsonl", replace(RESULT, run=replace(RUN, seed=1)))
    assert [run.seed for run in read(tmp_path / "results.jsonl")] == [1]
