"""Tasks from the table of students under distillation."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from catalogue import TablesMissing, load_task
from optuna.distributions import FloatDistribution
from pack import write
from peers import make_peer
from runner import search
from students import RANGES
from tasks import Task

from search_spaces.design.registry import space as search_space

N = 30


def families(space: str) -> list[Mapping[str, Any]]:
    own = search_space(space, **RANGES[space][1])
    return [own.random_parameters(np.random.default_rng(number)) for number in range(N)]


def row(number: int, space: str, parameters: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A training of accuracy 0.8 and some thousandths, which are its number."""
    rungs = [{"accuracy": 0.8 + number / 1_000 - 0.1 * (2 - rung)} for rung in range(3)]
    own = {"number": number, "task": "main", "space": space, "repeat": 0, "in_full": False, "rungs": rungs}
    distillation = {"temperature": 1.0 + number / 10, "weight": number / N}
    costs = {"macs": 1_000_000 * (1 + number)}
    return own | {"parameters": dict(parameters), "distillation": distillation, "cost": costs} | changes


def values(task: Task, number: int) -> list[float]:
    """What trainings of a point give, each once."""
    return sorted({task.evaluate(number, np.random.default_rng(seed)).value for seed in range(20)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A table of thirty students of NAGO and of blocks, one repeated twice, with trainings that are no points of it."""
    nago, blocks = families("nago"), families("blocks")
    rows = [row(number, "nago", family) for number, family in enumerate(nago)]
    rows += [row(number + N, "blocks", family) for number, family in enumerate(blocks)]
    rows += [row(4, "nago", nago[4], repeat=n, rungs=[{"accuracy": 0.8 + 0.05 * n}] * 3) for n in (1, 2)]
    rows += [row(5, "nago", nago[5], in_full=True), row(90, "nago", nago[0], task="both")]
    failed = row(91, "nago", nago[0], failure="diverged")
    write([*rows, {name: value for name, value in failed.items() if name != "rungs"}], tmp_path / "students.jsonl.xz")
    return tmp_path


def test_a_student_has_the_accuracies_of_its_trainings_and_no_other(folder: Path) -> None:
    task = load_task("students-nago", folder)
    assert task.size == N
    assert values(task, 4) == pytest.approx([80.4, 85.0, 90.0])
    assert values(task, 7) == pytest.approx([80.7])
    assert task.seconds[7, 0] / task.seconds[1, 0] == pytest.approx(8 / 2)
    assert load_task("students-nago-both", folder).size == 1


def test_each_recorded_setting_is_found_and_one_beside_it_too(folder: Path) -> None:
    for name in ("students-nago", "students-blocks"):
        task = load_task(name, folder)
        for number in range(N):
            setting = task.params(number)
            assert task.row(setting) == number
            assert task.row(setting | {"weight": setting["weight"] + 0.001}) == number


def test_numbers_are_standardised_and_two_choices_are_one_apart_in_each(folder: Path) -> None:
    task, rng = load_task("students-nago", folder), np.random.default_rng(0)
    recorded = [task.params(number) for number in range(N)]

    def scaled(name: str, value: float) -> float:
        return math.log(value) if name == "temperature" else float(value)

    deviations = {name: np.std([scaled(name, each[name]) for each in recorded]) for name in task.space}
    for _ in range(20):
        point = {
            name: float(rng.uniform(each.low, each.high)) if isinstance(each, FloatDistribution) else each.low
            for name, each in task.space.items()
        }
        away = [
            sum(((scaled(name, point[name]) - scaled(name, each[name])) / deviations[name]) ** 2 for name in task.space)
            for each in recorded
        ]
        assert task.row(point) == int(np.argmin(away))


def test_what_a_setting_does_not_have_makes_no_difference(folder: Path) -> None:
    task = load_task("students-blocks", folder)
    inverted = [name for name in task.space if name.endswith(("_expansion", "_kernel", "_squeeze"))]
    assert len(inverted) == 12
    for number in range(N):
        plain = task.params(number) | {name: "basic" for name in task.space if name.endswith("_block")}
        for expansion, kernel, squeeze in ((1, 3, 0), (6, 7, 1)):
            chosen = {name: {"e": expansion, "k": kernel, "s": squeeze}[name.split("_")[1][0]] for name in inverted}
            assert task.row(plain | chosen) == task.row(plain)


def test_rungs_cost_their_share_and_tell_what_was_seen_there(folder: Path) -> None:
    task, rng = load_task("students-nago-rungs", folder), np.random.default_rng(0)
    low, high = task.train(3, 0, None, rng), task.train(3, 1, 0, rng)
    assert (low.value, high.value) == (pytest.approx(60.3), pytest.approx(70.3))
    whole = task.evaluate(3, rng).seconds
    assert (low.seconds, high.seconds) == (pytest.approx(whole / 9), pytest.approx(whole * 2 / 9))


@pytest.mark.parametrize("name", ["students-nago", "students-blocks"])
@pytest.mark.parametrize("peer", ["ours", "ours+graphs", "tpe", "random"])
def test_a_table_is_searched_by_our_optimiser_and_its_peers(folder: Path, name: str, peer: str) -> None:
    task = load_task(name, folder)
    trace = search(task, make_peer(peer, task, 0, 1), evaluations=15, workers=1, rng=np.random.default_rng(0))
    assert len(set(trace.rows)) == 15
    assert max(trace.worths) > 80.0


def test_a_space_without_students_is_named(folder: Path) -> None:
    with pytest.raises(TablesMissing, match="'randwire' in 'main'"):
        load_task("students-randwire", folder)
