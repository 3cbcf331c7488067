from dataclasses import make_dataclass, replace

import pytest
from hand_drawn import STUDENTS
from protocol import ARMS, PROTOCOLS, Arm, Screening, digest
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


def test_an_arm_of_longer_trials_has_so_many_fewer(bench: Workbench) -> None:
    short, long = (bench.config(0, Arm(longer=factor)) for factor in (1, 2))
    assert (list(short.training.rungs), list(long.training.rungs)) == ([4, 12], [8, 24])
    assert (short.trials, long.trials) == (26, 13)


def test_an_arm_of_more_images_has_so_many_more_trials(bench: Workbench) -> None:
    assert bench.config(0, Arm(images=4)).trials == 106  # of 320 epochs, four times: 12 epochs each


def test_runs_of_one_seed_share_the_teachers_outputs(bench: Workbench) -> None:
    first, second = (bench.home(5, name) / "teachers" for name in ("one", "two"))
    (first / "answer").write_text("42")
    assert (second / "answer").read_text() == "42"
    bench.clear(5, "one")
    assert (second / "answer").exists()


def test_a_digest_tells_trainings_apart_and_not_how_many_there_are() -> None:
    arm, protocol = ARMS["A"], PROTOCOLS["F"]
    assert digest(protocol, arm) == digest(replace(protocol, seeds=9, screening=Screening(best=1), data={}), arm)
    for others in ((PROTOCOLS["D"], arm), (protocol, ARMS["B"]), (protocol, arm, 6), (replace(protocol, final=9), arm)):
        assert digest(protocol, arm) != digest(*others)


def test_fields_that_are_added_later_change_no_digest() -> None:
    later = make_dataclass("Later", [("new", int, 0)], bases=(Arm,), frozen=True)
    values = vars(ARMS["E"])
    assert digest(PROTOCOLS["F"], later(**values)) == digest(PROTOCOLS["F"], ARMS["E"])
    assert digest(PROTOCOLS["F"], later(**values, new=1)) != digest(PROTOCOLS["F"], ARMS["E"])


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_is_a_configuration_of_the_product(bench: Workbench, name: str) -> None:
    config = bench.config(2, ARMS[name])
    assert (config.seed, config.references.names, config.final.students) == (2, (), 1)
    ranges = {"temperature": [1, 10], "weight": [0, 1]}
    if config.distillation.methods:
        assert (name, ">" in config.distillation.methods[0]) in (("M1", False), ("M2", True))
    else:
        assert ARMS[name].distillation in (
            ranges,
            {"temperature": 4.0, "weight": 0.9},
            {"temperature": 4.0, "weight": 0.0},
        )


def test_the_slim_copy_of_the_teacher_uses_both_limits(bench: Workbench) -> None:
    student = STUDENTS["like-teacher"]
    usual = dict.fromkeys(bench.space(student).space.distributions(), 1.0)
    used = bench.space(student).budget.utilisation(cost(draw(bench, student, usual, "test")))
    assert all(0.95 < share <= 1 for share in used.values())
