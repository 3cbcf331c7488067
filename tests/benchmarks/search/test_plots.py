from pathlib import Path

from comparison import collect
from plots import plot
from results import Result, Run
from runner import Trace
from tasks import Task


def test_the_plot_is_a_picture(tmp_path: Path, small: Task) -> None:
    trace = Trace([0, 1], [3.0, 4.0], [3.0, 4.0], [1.0, 2.0], [0.1, 0.1])
    runs = [Run("small", peer, "v1", seed, 1, 2) for peer in ("ours", "tpe") for seed in range(2)]
    plot(collect(Result(run, 5.0, trace) for run in runs), lambda name: small, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
