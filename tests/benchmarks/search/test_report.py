import pytest
import report
from comparison import collect
from report import markdown
from results import Result, Run
from runner import Shorter, Trace
from tasks import Task

N = 50


def result(task: str, peer: str, seed: int, regret: float, seconds: float = 1.0) -> Result:
    """A run whose first evaluation has regret 10 and all others the given one, each of rows 0 to 23 in turn."""
    worths = [90.0] + [100.0 - regret] * (N - 1)
    finished = [seconds * number for number in range(1, N + 1)]
    trace = Trace([number % 24 for number in range(N)], list(worths), worths, finished, [0.25] * N)
    return Result(Run(task, peer, "v1", seed, 1, N), 100.0, trace)


class Choosing:
    """Stands in for the model, whose fits take seconds here: it chooses the last evaluation of those asked about."""

    def __init__(self, load: object) -> None:
        self.asked: list[tuple[str, int]] = []

    def __call__(self, result: Result, n: int) -> int:
        self.asked.append((result.run.peer, n))
        return n - 1


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch) -> Choosing:
    stand_in = Choosing(None)
    monkeypatch.setattr(report, "ByModel", lambda load: stand_in)
    return stand_in


def test_the_table_has_mean_and_standard_error_and_marks_the_best(small: Task) -> None:
    # Regrets 1, 2, 3: mean 2, standard deviation 1, standard error 1 / sqrt(3).
    results = [result("a", "ours", seed, regret) for seed, regret in enumerate((1.0, 2.0, 3.0))]
    results += [result("a", "random", seed, 5.0) for seed in range(3)]
    text = markdown(collect(results), lambda name: small)
    assert "| task | evaluations | ours | random |" in text
    assert "| a | 50 | **2.00 ± 0.58** | 5.000 ± 0.000 |" in text
    assert "3 seeds" in text
    assert "after 50: 0.40" in text
    assert "ours: the lowest mean in 1 of 1 cells, within the standard error of the lowest in 0 more" in text
    assert "| ours | 0.250 |" in text


def test_each_table_has_its_rule(small: Task, model: Choosing) -> None:
    # The best observed point is worth 3 less than the one evaluated last, and ours is slow.
    def made(peer: str, regret: float, seconds: float) -> Result:
        base = result("a", peer, 0, regret, seconds)
        base.trace.values[:] = [0.0, 1.0] + [0.5] * (N - 2)
        base.trace.worths[1] = 100.0 - regret - 3.0
        return base

    groups = collect([made("ours", 1.0, 60.0), made("random", 5.0, 1.0), made("gp", 2.0, 1.0)])
    lines = markdown(groups, lambda name: small).splitlines()
    rows = [line for line in lines if line.startswith("| a ")]
    assert rows == [
        "| a | 50 | **1** | 8 | 5 |",  # each by its own rule
        "| a | 50 | **4** | 8 | 5 |",  # everybody by the best observation
        "| a | 50 | **1** | 5 | 2 |",  # everybody by the model
        "| a | 50 | 10 | 8 | **5** |",  # at equal time, when ours has its first only
        "| a | 50 | **1** | 5 | 2 |",  # search without choice
    ]
    counts = [line.removeprefix("ours: the lowest mean in ") for line in lines if line.startswith("ours: ")]
    won, lost = (f"{n} of 1 cells, within the standard error of the lowest in 0 more" for n in (1, 0))
    assert counts == [won, won, won, lost, won]


def test_cells_are_counted_over_all_tasks_of_a_table(small: Task) -> None:
    # Three seeds that are 1 apart: of two such means the difference has the standard error sqrt(2 / 3) = 0.816.
    centres = {"a": (2.0, 3.0), "b": (3.8, 3.0), "c": (3.9, 3.0), "d": (2.0, 2.5)}
    results = [
        result(task, peer, seed, centre + seed - 1)
        for task, pair in centres.items()
        for peer, centre in zip(("ours", "random"), pair, strict=True)
        for seed in range(3)
    ]
    counts = [line for line in markdown(collect(results), lambda name: small).splitlines() if line.startswith("ours: ")]
    line = "ours: the lowest mean in 2 of 4 cells, within the standard error of the lowest in 1 more"
    assert counts == [line] * 5


def test_equal_time_is_told_by_random_search(small: Task) -> None:
    # Gp trains 60 times as long: when random has finished 50 evaluations, gp has none yet, and its first counts.
    results = [result("a", "gp", 0, 1.0, seconds=60.0), result("a", "random", 0, 5.0)]
    equal_evaluations, equal_time = markdown(collect(results), lambda name: small).split("at the simulated time")
    assert "| a | 50 | **1** | 5 |" in equal_evaluations
    assert "| a | 50 | 10 | **5** |" in equal_time


def test_the_model_chooses_at_the_time_from_what_has_finished_by_then(small: Task, model: Choosing) -> None:
    results = [result("a", "ours", 0, 1.0, seconds=4.0), result("a", "random", 0, 5.0)]
    markdown(collect(results), lambda name: small)
    assert {n for peer, n in model.asked if peer == "ours"} == {50, 12}  # 12 evaluations of 4 seconds end within 50
    assert {n for peer, n in model.asked if peer == "random"} == {50}


def test_limits_have_a_table_of_what_is_kept_and_when_the_optimum_is_found(limited: Task) -> None:
    # Two thirds of the rows keep what is computable and one third keeps all.
    def found_after(peer: str, seed: int, number: int | None) -> Result:
        made = result("limited", peer, seed, 1.0)
        if number is not None:
            made.trace.worths[number - 1] = made.trace.values[number - 1] = 100.0
        return made

    results = [found_after("tpe", seed, number) for seed, number in enumerate((9, 30, None))]
    results += [found_after("gp", seed, number) for seed, number in enumerate((9, None, None))]
    for made in results:
        made.trace.rows[:] = list(range(24)) + [0] * 26
    text = markdown(collect(results), lambda name: limited)
    # 24 rows in turn: 16 and 8 of them; then a point that keeps everything 26 times.
    assert "| limited | tpe | 84.0 % | 68.0 % | 0.33 ± 0.33 | 30 |" in text
    assert [line.split(" | ")[-1] for line in text.splitlines() if " % | " in line] == ["30 |", "- |"]


def test_without_limits_there_is_no_such_table(small: Task) -> None:
    assert "Limits" not in markdown(collect([result("a", "tpe", 0, 1.0)]), lambda name: small)


def test_tasks_with_a_ladder_have_a_table_at_equal_time(laddered: Task) -> None:
    mean = laddered.mean_seconds
    early = [Shorter(2, 0, 1.0, 92.0, 0.2 * mean)]
    halving = Trace([3, 4], [1.0, 2.0], [95.0, 99.0], [19.0 * mean, 49.0 * mean], [0.5] * 8, early)
    plain = Trace([3], [1.0], [97.0], [20.0 * mean], [0.1])
    results = [
        Result(Run("laddered", peer, "v1", 0, 1, N), 100.0, trace)
        for peer, trace in (("ours+halving", halving), ("gp", plain))
    ]
    text = markdown(collect(results), lambda name: laddered)
    assert "| task | full trainings | ours+halving | gp |" in text
    assert "| laddered | 20 | 5 | **3** |" in text
    assert "| laddered | 50 | **1** | 3 |" in text
    assert "| laddered | ours+halving | 8 | 2 | 0.500 |" in text
    assert "evaluations" not in text
    assert "ours+halving: the lowest mean in 1 of 2 cells" in text


def test_workers_have_sections_of_their_own(small: Task) -> None:
    one = result("a", "tpe", 0, 1.0)
    many = Result(Run("a", "tpe", "v1", 0, 8, N), 100.0, one.trace)
    lines = markdown(collect([one, many]), lambda name: small).splitlines()
    assert [line for line in lines if line.startswith("##")] == ["## 1 worker, 1 seeds", "## 8 workers, 1 seeds"]


def test_no_results_make_an_empty_report(small: Task) -> None:
    assert markdown(collect([]), lambda name: small) == ""
