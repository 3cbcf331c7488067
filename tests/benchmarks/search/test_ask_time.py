import sys
from pathlib import Path

import ask_time
import numpy as np
import pytest
from ask_time import ROUNDS, Seconds, markdown, timed
from ask_time_peers import Optimiser


class Clockwork(Optimiser):
    """Every proposal takes a second of the CPU and two of the clock, but the first one and the next four take more."""

    period = 4

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.costs = iter([(1000.0, 1000.0), *[(100.0, 100.0)] * 4, *[(1.0, 2.0)] * 4 * (ROUNDS - 1)])
        self.cpu = self.wall = 0.0
        monkeypatch.setattr("time.process_time", lambda: self.cpu)
        monkeypatch.setattr("time.perf_counter", lambda: self.wall)

    def turn(self, rng: np.random.Generator) -> None:
        cpu, wall = next(self.costs)
        self.cpu += cpu
        self.wall += wall


def test_the_median_round_counts_for_one_proposal(monkeypatch: pytest.MonkeyPatch) -> None:
    optimiser = Clockwork(monkeypatch)
    assert timed(optimiser, np.random.default_rng(0)) == Seconds(cpu=1.0, wall=2.0)
    assert list(optimiser.costs) == []


def test_a_slow_peer_is_not_asked_after_more_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask_time, "make", lambda name, finished: len(finished))
    monkeypatch.setattr(ask_time, "timed", lambda n, rng: Seconds(cpu=0.0, wall=float(n)))
    assert list(ask_time.measure("any", [5, 10, 20, 40], limit=10.0)) == [5, 10, 20]


def test_the_tables_have_a_dash_where_a_peer_was_not_asked() -> None:
    found = {"ours": {10: Seconds(0.25, 0.5), 20: Seconds(1.0, 2.0)}, "gp": {10: Seconds(3.0, 70.0)}}
    cpu, wall = markdown(found, [10, 20]).split("Seconds of the clock")
    assert "| ours | 0.250 | 1.000 |\n| gp | 3.000 | - |" in cpu
    assert "| ours | 0.500 | 2.000 |\n| gp | 70.000 | - |" in wall


def test_the_script_measures_plots_and_skips_what_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("optuna_integration", "smac"):
        monkeypatch.setitem(sys.modules, package, None)
    file = tmp_path / "seconds.png"
    options = ["--peers", "tpe", "botorch", "smac", "--trials", "20", "10", "--plot", str(file)]
    monkeypatch.setattr("sys.argv", ["ask_time.py", *options])
    ask_time.main()
    out, progress = capsys.readouterr()
    assert "| peer | 10 | 20 |" in out
    assert out.count("| tpe | 0.") == 2
    assert "skipped: The peer 'botorch'" in progress
    assert "skipped: The peer 'smac' needs the package smac." in progress
    assert file.read_bytes().startswith(b"\x89PNG")
