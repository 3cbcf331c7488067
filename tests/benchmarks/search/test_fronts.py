import sys
from collections.abc import Callable
from pathlib import Path

import front_peers
import fronts
import numpy as np
import pytest
from front_task import Tradeoff
from results import Result, Run, read
from tasks import Task

Call = Callable[..., tuple[str, str]]


@pytest.fixture
def call(small: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs the script with some arguments on the small task, and returns what it printed."""
    tradeoff = Tradeoff(small, np.linspace(90.0, 1.0, small.size), worst_accuracy=-10.0, worst_latency=100.0)
    monkeypatch.setattr(fronts, "accuracy_and_latency", lambda folder: tradeoff)

    def called(*arguments: str) -> tuple[str, str]:
        fixed = ["--tables", "nowhere", "--evaluations", "50", "--results", str(tmp_path / "results.jsonl")]
        monkeypatch.setattr("sys.argv", ["fronts.py", *fixed, *arguments])
        fronts.main()
        return capsys.readouterr()

    return called


def test_runs_what_is_missing_and_reports(call: Call, tmp_path: Path) -> None:
    call("--peers", "random", "--seeds", "1")
    file = str(tmp_path / "fronts.png")
    out, progress = call("--peers", "random", "nsga2", "--seeds", "2", "--workers", "1", "8", "--plot", file)
    assert "8 runs, 1 of them in" in progress
    assert "## 8 workers" in out
    assert "| nsga2 | 2 |" in out
    assert Path(file).exists()
    results = read(tmp_path / "results.jsonl")
    assert len(results) == 8
    assert all(len(result.trace.rows) == 50 for result in results.values())


def test_a_run_that_fails_is_told_in_a_line_and_the_others_go_on(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    perform = fronts._perform

    def broken(run: Run, tradeoff: Tradeoff) -> Result:
        if run.peer == "random":
            raise RuntimeError("The sampler gave up.\nIt says why elsewhere.")
        return perform(run, tradeoff)

    monkeypatch.setattr(fronts, "_perform", broken)
    with pytest.raises(SystemExit, match=r"^1 of 2 runs failed; the same command tries them again\.$"):
        call("--peers", "random", "nsga2", "--seeds", "1")
    out, progress = capsys.readouterr()
    assert "random, seed 0, 1 workers: failed, RuntimeError: The sampler gave up\n" in progress
    assert [key.peer for key in read(tmp_path / "results.jsonl")] == ["nsga2"]
    assert "| nsga2 | 1 |" in out


def test_another_seed_searches_elsewhere(call: Call, tmp_path: Path) -> None:
    call("--peers", "random", "--seeds", "2")
    first, second = read(tmp_path / "results.jsonl").values()
    assert first.trace.rows != second.trace.rows


def test_slow_peers_have_fewer_seeds(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(front_peers.FRONT_PEERS, "slow", front_peers.Entrant("random", code="tpe", most_seeds=1))
    out, _ = call("--peers", "random", "slow", "--seeds", "2")
    assert "| random | 2 |" in out
    assert "| slow | 1 |" in out


def test_peers_that_are_not_installed_are_skipped_with_a_line(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna_integration", None)
    out, progress = call("--peers", "random", "botorch", "--seeds", "1")
    assert "skipped: The peer 'botorch'" in progress
    assert "botorch" not in out


def test_without_a_folder_of_tables_the_script_says_what_to_pass(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(fronts.VARIABLE, raising=False)
    monkeypatch.setattr("sys.argv", ["fronts.py"])
    with pytest.raises(SystemExit):
        fronts.main()
    assert f"pass --tables FOLDER or set {fronts.VARIABLE}." in capsys.readouterr().err


def test_a_missing_table_ends_the_script_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["fronts.py", "--tables", str(tmp_path)])
    with pytest.raises(SystemExit, match="needs the table"):
        fronts.main()
