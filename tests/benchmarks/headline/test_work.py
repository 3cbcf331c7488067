import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest
import searching
import work
from locks import alone, together
from plan import jobs
from protocol import ARMS, FIXED, PROTOCOLS
from records import Record, read
from work import main, seeds_of
from workbench import Workbench

from autokd.errors import AutoKDError, BudgetInfeasibleError, InputError


def run(folder: Path, *options: str) -> list[dict[str, object]]:
    """The lines that there are after a run of the benchmark."""
    file = folder / "results.jsonl"
    main("", ["--data", "tiny", "--results", str(file), "--scratch", str(folder / "runs"), *options])
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_seeds_are_a_number_a_list_or_ranges() -> None:
    assert seeds_of(["3"]) == [0, 1, 2]
    assert seeds_of(["0", "2"]) == [0, 2]
    assert seeds_of(["3-3", "5-6"]) == [3, 5, 6]


@pytest.mark.parametrize("options", [["--data", "tiny", "--seeds", "x"], [], ["--data", "tiny", "--arms", "Z"]])
def test_bad_arguments_end_with_2(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main("", options)
    assert stopped.value.code == 2
    assert "error" in capsys.readouterr().err


TEACHER = {"digest": "teacher", "data": "samples"}


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    """A bench that knows its teacher without asking it."""
    bench = Workbench("tiny", PROTOCOLS["tiny"], tmp_path / "runs")
    vars(bench)["teacher"] = TEACHER
    return bench


def perform(bench: Workbench, arm: str, teacher: dict[str, str] = TEACHER) -> bool:
    """Whether a process that is asked for one arm does it; its job leaves files and takes no time."""
    asked = argparse.Namespace(results=bench.scratch / "lines", arms=[arm], seeds=[0], quick=False)
    (job,) = jobs(bench, [arm], [0], {})

    def leave_files() -> Record:
        (bench.home(0, job.folder) / "teachers" / "view").touch()
        return Record(job.run, {}, teacher=teacher)

    return work._perform(replace(job, perform=leave_files), bench, asked, 0, 1)


def test_a_run_that_another_process_does_is_left_to_it(bench: Workbench) -> None:
    with alone(work._lock(bench, "B 0")) as is_alone:
        assert is_alone
        assert not perform(bench, "B")
    assert perform(bench, "B")
    assert not perform(bench, "B")
    assert len(read(bench.scratch / "lines")) == 1


def test_the_teachers_outputs_stay_while_another_process_needs_them(bench: Workbench) -> None:
    with together(work._lock(bench, "seed 0")):
        assert perform(bench, "B")
    assert (bench.folder(0) / "teachers" / "view").exists()
    assert not (bench.folder(0) / "B").exists()
    assert perform(bench, "E")
    assert not (bench.folder(0) / "teachers").exists()


def test_a_search_stays_until_all_arms_that_share_it_are_done(bench: Workbench) -> None:
    assert perform(bench, "C1")
    assert (bench.folder(0) / "C").exists()
    assert perform(bench, "C2")
    assert not (bench.folder(0) / "C").exists()


@pytest.mark.parametrize("name", ["digest", "data"])
def test_runs_with_another_teacher_or_other_samples_are_not_mixed_in(bench: Workbench, name: str) -> None:
    assert perform(bench, "B", TEACHER | {name: "other"})
    with pytest.raises(InputError, match=r"digest other\) than this one .*: choose another --results file"):
        perform(bench, "E")


@pytest.mark.parametrize("error", [AutoKDError("no trial could be trained"), BudgetInfeasibleError("too small")])
def test_a_search_without_a_student_is_a_result(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, error: AutoKDError
) -> None:
    def begin(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(searching, "begin", begin)
    (job,) = jobs(bench, ["A"], [0], {})
    record = searching.search(bench, job.run, ARMS["A"], "A")
    assert (record.metrics, record.teacher) == ({}, TEACHER)
    assert record.failure == f"{type(error).__name__}: {error}"


@pytest.mark.slow  # a whole search, with the training of its winner
def test_a_run_that_was_killed_goes_on_and_is_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(work, "append", _killed)
        with pytest.raises(RuntimeError):
            run(tmp_path, "--arms", "A", "--seeds", "1")
    assert (tmp_path / "runs/tiny/seed-0/A/autokd.db").exists()
    with monkeypatch.context() as patch:
        patch.setattr(searching, "begin", _killed)  # the search is not begun again
        (line,) = run(tmp_path, "--arms", "A", "--seeds", "1")
    assert not (tmp_path / "runs/tiny/seed-0/A").exists()
    assert not (tmp_path / "runs/tiny/seed-0/teachers").exists()
    assert run(tmp_path, "--arms", "A", "--seeds", "1") == [line]
    assert line["cost"]["params"] <= 7_775
    assert line["search_images"] >= 2 * (0.25 + 0.5) / 2 * 256
    assert "| A |" in capsys.readouterr().out


@pytest.mark.slow  # finds the facts of data and teacher twice
def test_a_search_that_was_left_goes_on_only_with_the_same_settings(tmp_path: Path) -> None:
    bench = Workbench("tiny", PROTOCOLS["tiny"], tmp_path)
    left = searching._open(bench, 0, ARMS["A"], "A").row.created_at
    assert searching._open(bench, 0, ARMS["A"], "A").row.created_at == left
    other = searching._open(bench, 0, ARMS["E"], "A")
    assert other.row.created_at > left
    assert other.config.distillation.ranges == FIXED


@pytest.mark.slow  # two searches, and trainings of five students
def test_arms_that_share_a_search_and_those_that_follow_from_another_are_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = run(tmp_path, "--arms", "A", "C1", "C2", "P", "top", "draws", "--seeds", "1")
    assert [line["arm"] for line in lines] == ["A", "C1", "C2", "P", "top", "draws"]
    by_arm = {line["arm"]: line for line in lines}
    assert by_arm["C1"]["found"]["architecture"] == by_arm["C2"]["found"]["architecture"]
    assert by_arm["C1"]["found"]["distillation"] == {"temperature": 4.0, "weight": 0.0}
    assert by_arm["C2"]["found"]["distillation"] == {"temperature": 4.0, "weight": 0.9}
    capsys.readouterr()
    main("", ["--data", "tiny", "--list", "--results", str(tmp_path / "results.jsonl"), "--arms", "A", "B"])
    out = capsys.readouterr().out
    assert "| A | 1 | 1 | 0 |" in out
    assert "| B | 0 | 2 | 0 |" in out


def _killed(*arguments: object, **options: object) -> None:
    raise RuntimeError("killed")
