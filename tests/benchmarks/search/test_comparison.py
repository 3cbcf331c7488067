import numpy as np
import pytest
from choosing import by_hindsight, by_observation
from comparison import Group, Standing, collect, geometric_mean_ratio, observed, standing
from results import Result, Run
from runner import Shorter, Trace
from tasks import Array, Task

N = 50


def result(task: str, peer: str, seed: int, regret: float, version: str = "v1") -> Result:
    """A run whose first evaluation has regret 10 and all others the given one."""
    worths = [90.0] + [100.0 - regret] * (N - 1)
    trace = Trace(list(range(N)), worths, worths, list(np.arange(1.0, N + 1)), [0.25] * N)
    return Result(Run(task, peer, version, seed, 1, N), 100.0, trace)


def after(group: Group, evaluations: int) -> Array:
    return group.after(evaluations, by_observation)


@pytest.fixture
def short() -> Group:
    trace = Trace([1, 2, 3], [5.0, 7.0, 6.0], [5.5, 4.0, 9.0], [1.0, 4.0, 5.0], [0.0] * 3)
    other = Trace([1, 2, 3], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [2.0, 3.0, 9.0], [0.0] * 3)
    (group,) = collect(Result(Run("a", "tpe", "v1", seed, 1, 3), 10.0, t) for seed, t in enumerate((trace, other)))
    return group


def test_regret_is_of_the_chosen_point_by_its_mean(short: Group) -> None:
    assert [short.after(n, by_observation).tolist() for n in (1, 2, 3)] == [[4.5, 9.0], [6.0, 8.0], [6.0, 7.0]]
    assert [short.after(n, by_hindsight).tolist() for n in (1, 2, 3)] == [[4.5, 9.0], [4.5, 8.0], [1.0, 7.0]]


def test_regret_at_a_time_is_that_of_what_has_finished(short: Group) -> None:
    found = [short.at(seconds, by_observation).tolist() for seconds in (0.5, 2.0, 4.0, 99.0)]
    assert found == [[4.5, 9.0], [4.5, 9.0], [6.0, 8.0], [6.0, 7.0]]


def test_on_a_ladder_evaluations_are_the_time_that_as_many_full_trainings_take(small: Task, laddered: Task) -> None:
    shorter = [Shorter(0, 0, 1.0, worth=4.0, finished=0.5 * laddered.mean_seconds)]
    trace = Trace([1], [1.0], [7.0], [1.5 * laddered.mean_seconds], [0.0], shorter)
    run = Run("laddered", "ours+halving", "v1", 0, 1, 3)
    (group,) = collect([Result(run, 10.0, trace)])
    assert [observed(lambda name: laddered)(group, n).tolist() for n in (1, 2)] == [[6.0], [3.0]]
    assert observed(lambda name: small)(group, 1).tolist() == [3.0]
    assert group.first().tolist() == [6.0]


def test_the_ratio_is_to_the_best_other_of_each_task() -> None:
    regrets = {("a", "ours"): 2.0, ("a", "tpe"): 1.0, ("a", "gp"): 8.0, ("b", "ours"): 2.0, ("b", "gp"): 4.0}
    groups = collect(result(task, peer, 0, regret) for (task, peer), regret in regrets.items())
    assert geometric_mean_ratio(groups, "ours", after, N) == pytest.approx(np.sqrt(2.0 / 1.0 * 2.0 / 4.0))


def test_a_found_optimum_counts_as_a_thousandth_of_the_first_regret() -> None:
    groups = collect([result("a", "ours", 0, 1.0), result("a", "gp", 0, 0.0)])
    assert geometric_mean_ratio(groups, "ours", after, N) == pytest.approx(1.0 / (10.0 / 1000))


def test_another_version_of_a_peer_is_another_column_but_no_rival() -> None:
    results = [result("a", "ours", 0, 2.0), result("a", "ours", 0, 1.0, version="v2"), result("a", "tpe", 0, 4.0)]
    groups = collect(results)
    assert [group.peer for group in groups] == ["ours (v1)", "ours (v2)", "tpe"]
    ratios = [geometric_mean_ratio(groups, group.peer, after, N) for group in groups[:2]]
    assert ratios == pytest.approx([0.5, 0.25])


def test_a_peer_with_halving_is_no_rival_of_itself_without() -> None:
    regrets = {"ours": 4.0, "ours+halving": 1.0, "tpe+halving": 2.0}
    groups = collect(result("a", peer, 0, regret) for peer, regret in regrets.items())
    ratios = [geometric_mean_ratio(groups, peer, after, N) for peer in ("ours", "ours+halving")]
    assert ratios == pytest.approx([2.0, 0.5])


def test_without_a_rival_there_is_neither_a_ratio_nor_a_standing() -> None:
    alone = collect([result("a", "ours", 0, 2.0)])
    assert np.isnan(geometric_mean_ratio(alone, "ours", after, N))
    assert standing(alone, "ours", after, [N]) == Standing(0, 0, 0)


def test_a_standing_counts_the_lowest_and_those_within_the_error_of_the_difference() -> None:
    # Three seeds that are 1 apart have a standard error of 1 / sqrt(3) = 0.577; of two such the difference has 0.816.
    centres = {
        "lowest": (2.0, 3.0),
        "equal": (3.0, 3.0),
        "close": (3.8, 3.0),
        "behind": (3.9, 3.0),
    }
    groups = collect(
        result(task, peer, seed, centre + seed - 1)
        for task, pair in centres.items()
        for peer, centre in zip(("ours", "gp"), pair, strict=True)
        for seed in range(3)
    )
    groups += collect(result("close", "tpe", seed, 9.0) for seed in range(3))
    assert standing(groups, "ours", after, [N]) == Standing(cells=4, lowest=2, close=1)
    # After the first evaluation everybody has the same.
    assert standing(groups, "ours", after, [1, N]) == Standing(cells=8, lowest=6, close=1)
