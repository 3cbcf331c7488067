from pathlib import Path

import pytest
from hand_drawn import STUDENTS
from protocol import ARMS, PROTOCOLS, digest
from trainings import draw
from workbench import Workbench

from search_spaces.architecture.cost import cost


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    return Workbench("D", PROTOCOLS["D"], tmp_path_factory.mktemp("scratch"))


def test_limits_are_a_tenth_and_a_third_of_the_teacher_as_measured(bench: Workbench) -> None:
    assert (bench.teacher["params"], bench.teacher["activation_bytes"]) == (77_754, 12_288)
    problem = bench.problem(0, "x", epochs=1)
    assert problem.budget.limits == {"params": 7_775, "activation_bytes": 4_096}


def test_a_full_training_is_that_of_the_protocol(bench: Workbench) -> None:
    context = bench.problem(3, "x", epochs=60).retraining_context
    assert context.training.rungs == (60,)
    assert context.is_tested
    assert context.seed == bench.problem(3, "y", epochs=6).retraining_context.seed
    assert context.seed != bench.problem(4, "x", epochs=60).retraining_context.seed


def test_runs_of_one_seed_share_the_teachers_outputs(bench: Workbench) -> None:
    first, second = (bench.home(5, name) / "teachers" for name in ("one", "two"))
    (first / "answer").write_text("42")
    assert (second / "answer").read_text() == "42"
    bench.clear(5, "one")
    assert (second / "answer").exists()


def test_equal_settings_have_equal_digests_whatever_the_paths(tmp_path: Path) -> None:
    arm = ARMS["A"]
    assert digest(PROTOCOLS["F"], arm) == digest(PROTOCOLS["F-full"].__class__(**vars(PROTOCOLS["F"])), arm)
    assert digest(PROTOCOLS["F"], arm) != digest(PROTOCOLS["D"], arm)
    assert digest(PROTOCOLS["F"], arm) != digest(PROTOCOLS["F"], ARMS["B"])


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_is_a_configuration_of_the_product(bench: Workbench, name: str) -> None:
    config = bench.config(2, ARMS[name])
    assert (config.seed, config.references.names, config.final.students) == (2, (), 1)
    ranges = {"temperature": [1, 10], "weight": [0, 1]}
    assert ARMS[name].distillation in (ranges, {"temperature": 4.0, "weight": 0.9}, {"temperature": 4.0, "weight": 0.0})


def test_the_slim_copy_of_the_teacher_uses_both_limits(bench: Workbench) -> None:
    student = STUDENTS["like-teacher"]
    usual = dict.fromkeys(bench.space(student).space.distributions(), 1.0)
    used = bench.space(student).budget.utilisation(cost(draw(bench, student, usual, "test")))
    assert all(0.95 < share <= 1 for share in used.values())
