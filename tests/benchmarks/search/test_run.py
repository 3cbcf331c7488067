import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import baselines
import catalogue
import pytest
import run
from peers import Peer, Proposal
from results import read
from tasks import Task

Call = Callable[..., tuple[str, str]]


@pytest.fixture
def call(small: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs the script with some arguments on the small task, and returns what it printed."""
    monkeypatch.setitem(catalogue.TASKS, "small", lambda folder: small)
    run._load.cache_clear()

    def called(*arguments: str) -> tuple[str, str]:
        file = str(tmp_path / "results.jsonl")
        fixed = ["run.py", "--tables", "nowhere", "--tasks", "small", "--evaluations", "10", "--results", file]
        monkeypatch.setattr("sys.argv", [*fixed, *arguments])
        run.main()
        return capsys.readouterr()

    return called


def test_runs_what_is_missing_and_reports(call: Call, tmp_path: Path) -> None:
    out, _ = call("--peers", "random", "evolution", "--seeds", "2", "--workers", "1", "8")
    assert "## 1 worker, 2 seeds" in out
    assert "## 8 workers, 2 seeds" in out
    results = read(tmp_path / "results.jsonl")
    assert len(results) == 8
    assert all(len(result.trace.values) == 10 for result in results.values())


def test_nothing_is_run_twice_and_more_seeds_are_added(call: Call, tmp_path: Path) -> None:
    call("--peers", "random", "--seeds", "2")
    before = (tmp_path / "results.jsonl").read_text()
    _, progress = call("--peers", "random", "--seeds", "3")
    assert "3 runs, 2 of them in" in progress
    after = (tmp_path / "results.jsonl").read_text()
    assert after.startswith(before)
    assert [key.seed for key in read(tmp_path / "results.jsonl")] == [0, 1, 2]


def test_a_changed_peer_is_run_anew(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call("--peers", "random", "--seeds", "1")
    monkeypatch.setattr(run, "peer_version", lambda name: "changed")
    call("--peers", "random", "--seeds", "1")
    assert len({key.version for key in read(tmp_path / "results.jsonl")}) == 2


def test_a_run_depends_on_its_seed_alone(call: Call, tmp_path: Path) -> None:
    for file in ("one.jsonl", "two.jsonl"):
        call("--peers", "evolution", "--seeds", "2", "--results", str(tmp_path / file))
    one, two = (read(tmp_path / file) for file in ("one.jsonl", "two.jsonl"))
    assert [r.trace.values for r in one.values()] == [r.trace.values for r in two.values()]
    first, second = one.values()
    assert first.trace.values != second.trace.values


def test_a_group_names_its_tasks_and_each_has_the_peers_that_suit_it(
    call: Call, laddered: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(catalogue.TASKS, "laddered", lambda folder: laddered)
    monkeypatch.setitem(catalogue.GROUPS, "both", ("small", "laddered"))
    monkeypatch.setattr(run, "FULL", ("random", "evolution"))
    monkeypatch.setattr(run, "LADDER", ("random", "random+halving"))
    _, progress = call("--tasks", "both", "small", "--seeds", "1")
    performed = [tuple(line.split(", ")[:2]) for line in progress.splitlines() if ", seed " in line]
    assert performed == [
        *(("small", "random"), ("small", "evolution")),
        *(("laddered", "random"), ("laddered", "random+halving")),
    ]


def test_peers_that_cannot_run_are_skipped_with_a_line(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cmaes", None)
    out, progress = call("--peers", "random", "cma-es", "--seeds", "1")
    assert "skipped: The peer 'cma-es' needs the package cmaes." in progress
    assert "cma-es" not in out


def test_a_run_that_fails_is_told_in_a_line_and_the_others_go_on(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "executor", lambda kind, count, limits: Threads(count))
    monkeypatch.setattr(baselines.RegularisedEvolution, "ask", broken)
    with pytest.raises(SystemExit, match=r"^2 of 4 runs failed; the same command tries them again\.$"):
        call("--peers", "evolution", "random", "--seeds", "2", "--jobs", "2")
    out, progress = capsys.readouterr()
    failed = [line for line in progress.splitlines() if "evolution" in line]
    reason = "failed, RuntimeError: The peer 'evolution' ended with 7"
    assert sorted(failed) == [f"small, evolution, seed {seed}, 1 workers: {reason}" for seed in (0, 1)]
    assert sorted((key.peer, key.seed) for key in read(tmp_path / "results.jsonl")) == [("random", 0), ("random", 1)]
    assert "## 1 worker, 2 seeds" in out


def broken(peer: Peer) -> Proposal:
    raise RuntimeError("The peer 'evolution' ended with 7.\nIt says why on standard error.")


class Threads(ThreadPoolExecutor):
    """Stands in for an executor of processes, which would not have what a test replaces."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.capacity = count


def test_a_report_of_no_runs_is_empty_where_all_have_failed(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines.RegularisedEvolution, "ask", broken)
    with pytest.raises(SystemExit, match="1 of 1 runs failed"):
        call("--peers", "evolution", "--seeds", "1", "--plot", str(tmp_path / "plot.png"))


def test_without_a_folder_of_tables_the_script_says_what_to_pass(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(run.VARIABLE, raising=False)
    monkeypatch.setattr("sys.argv", ["run.py"])
    with pytest.raises(SystemExit):
        run.main()
    assert f"pass --tables FOLDER or set {run.VARIABLE}." in capsys.readouterr().err


def test_a_missing_table_ends_the_script_with_one_line(call: Call) -> None:
    with pytest.raises(SystemExit, match="needs the table"):
        call("--tasks", "macro", "--peers", "random")
