from pathlib import Path

import numpy as np
import pytest
from report import Curves, collect, geometric_mean_ratio, markdown, plot
from results import Result, Run
from runner import Trace

N = 50


def result(task: str, peer: str, seed: int, regret: float, seconds: float = 1.0, version: str = "v1") -> Result:
    """A run whose first evaluation has regret 10 and all others the given one."""
    worths = [90.0] + [100.0 - regret] * (N - 1)
    finished = [seconds * number for number in range(1, N + 1)]
    return Result(Run(task, peer, version, seed, 1, N), 100.0, Trace(worths, worths, finished, [0.25] * N))


def test_regret_is_of_the_best_observed_point_by_its_mean() -> None:
    trace = Trace([5.0, 7.0, 6.0], [5.5, 4.0, 9.0], [1.0, 2.0, 3.0], [0.0] * 3)
    (curves,) = collect([Result(Run("small", "random", "v1", 0, 1, 3), 10.0, trace)])
    assert curves.regret.tolist() == [[4.5, 6.0, 6.0]]


def test_what_was_found_is_the_best_point_by_its_mean_chosen_or_not() -> None:
    trace = Trace([5.0, 7.0, 6.0], [5.5, 4.0, 9.0], [1.0, 2.0, 3.0], [0.0] * 3)
    (curves,) = collect([Result(Run("small", "random", "v1", 0, 1, 3), 10.0, trace)])
    assert curves.found.tolist() == [[4.5, 4.5, 1.0]]


def test_regret_at_a_time_is_that_of_what_has_finished() -> None:
    times = np.array([[1.0, 4.0, 5.0], [2.0, 3.0, 9.0]])
    regret = np.array([[3.0, 2.0, 1.0], [6.0, 5.0, 4.0]])
    curves = Curves("small", "random", 1, regret, found=regret, finished=times, ask_seconds=times)
    found = [curves.at(seconds).tolist() for seconds in (0.5, 2.0, 4.0, 99.0)]
    assert found == [[3.0, 6.0], [3.0, 6.0], [2.0, 5.0], [1.0, 4.0]]


def test_the_ratio_is_to_the_best_other_of_each_task() -> None:
    regrets = {("a", "ours"): 2.0, ("a", "tpe"): 1.0, ("a", "gp"): 8.0, ("b", "ours"): 2.0, ("b", "gp"): 4.0}
    curves = collect(result(task, peer, 0, regret) for (task, peer), regret in regrets.items())
    assert geometric_mean_ratio(curves, "ours", Curves.after, N) == pytest.approx(np.sqrt(2.0 / 1.0 * 2.0 / 4.0))


def test_a_found_optimum_counts_as_a_thousandth_of_the_first_regret() -> None:
    curves = collect([result("a", "ours", 0, 1.0), result("a", "gp", 0, 0.0)])
    assert geometric_mean_ratio(curves, "ours", Curves.after, N) == pytest.approx(1.0 / (10.0 / 1000))


def test_another_version_of_a_peer_is_another_column_but_no_rival() -> None:
    results = [result("a", "ours", 0, 2.0), result("a", "ours", 0, 1.0, version="v2"), result("a", "tpe", 0, 4.0)]
    curves = collect(results)
    assert [c.peer for c in curves] == ["ours (v1)", "ours (v2)", "tpe"]
    ratios = [geometric_mean_ratio(curves, c.peer, Curves.after, N) for c in curves[:2]]
    assert ratios == pytest.approx([0.5, 0.25])


def test_a_peer_with_halving_is_no_rival_of_itself_without() -> None:
    regrets = {"ours": 4.0, "ours+halving": 1.0, "tpe+halving": 2.0}
    curves = collect(result("a", peer, 0, regret) for peer, regret in regrets.items())
    ratios = [geometric_mean_ratio(curves, peer, Curves.after, N) for peer in ("ours", "ours+halving")]
    assert ratios == pytest.approx([2.0, 0.5])


def test_without_a_rival_there_is_no_ratio() -> None:
    assert np.isnan(geometric_mean_ratio(collect([result("a", "ours", 0, 2.0)]), "ours", Curves.after, N))


def test_the_table_has_mean_and_standard_error_and_marks_the_best() -> None:
    # Regrets 1, 2, 3: mean 2, standard deviation 1, standard error 1 / sqrt(3).
    results = [result("a", "ours", seed, regret) for seed, regret in enumerate((1.0, 2.0, 3.0))]
    results += [result("a", "random", seed, 5.0) for seed in range(3)]
    text = markdown(collect(results))
    assert "| task | evaluations | ours | random |" in text
    assert "| a | 50 | **2.00 ± 0.58** | 5.000 ± 0.000 |" in text
    assert "3 seeds" in text
    assert "after 50: 0.40" in text
    assert "| ours | 0.250 |" in text


def test_equal_time_is_told_by_random_search() -> None:
    # Ours trains 60 times as long: when random has finished 50 evaluations, ours has none yet, and its first counts.
    results = [result("a", "ours", 0, 1.0, seconds=60.0), result("a", "random", 0, 5.0)]
    equal_evaluations, equal_time = markdown(collect(results)).split("The same at the simulated time")
    assert "| a | 50 | **1** | 5 |" in equal_evaluations
    assert "| a | 50 | 10 | **5** |" in equal_time


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    plot(
        collect(result("a", peer, seed, 2.0) for peer in ("ours", "tpe") for seed in range(2)), tmp_path / "curves.png"
    )
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_no_results_make_an_empty_report() -> None:
    assert markdown(collect([])) == ""
