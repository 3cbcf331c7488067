from dataclasses import replace
from pathlib import Path

import pytest
import torch
from random_searches import record_randomly

from autokd.data.stream import normalise
from autokd.database.lease import acquire
from autokd.database.rows import UNREAD
from autokd.database.summaries import mean_costs
from autokd.errors import InputError
from autokd.searches.pareto import pareto_fronts
from autokd.searches.students import (
    TrainedStudent,
    best_students,
    leading_students,
    reference_students,
    trained_students,
)
from autokd.searches.trial_record import trial_records
from autokd.training.checkpoint import save_weights
from search_spaces.architecture.format import Architecture, Node
from search_spaces.design.budget import Budget
from search_spaces.networks.network import build

ARCHITECTURE = Architecture(
    (1, 8, 8), 10, (Node("input", (), 1), Node("conv3x3_bn", (0,), 4), Node("classifier", (1,), 10))
)


@pytest.fixture
def student(make_record, make_problem, tmp_path: Path) -> TrainedStudent:
    record = make_record(0, [[0.5]])
    row = record.students[0]
    object.__setattr__(row, "architecture", ARCHITECTURE.to_dict())
    return TrainedStudent(make_problem(), record.trial, row, record.evaluations[0], tmp_path / "weights.safetensors")


def test_a_students_network_has_its_weights(student: TrainedStudent) -> None:
    trained = build(ARCHITECTURE, seed=5).eval()
    save_weights(trained, student.weights)
    network, images = student.network(), torch.randn(3, 1, 8, 8)
    assert not network.training
    assert torch.equal(network(images), trained(images))


def test_a_students_module_takes_images_as_the_data_set_holds_them(student: TrainedStudent) -> None:
    save_weights(build(ARCHITECTURE, seed=5), student.weights)
    module, images = student.module(), torch.randint(256, (3, 8, 8, 1), dtype=torch.uint8)
    assert not module.training
    expected = student.network()(normalise(images, student.problem.facts.normalisation))
    torch.testing.assert_close(module(images.movedim(-1, 1)), expected)


def test_a_student_knows_its_graph_and_metrics(student: TrainedStudent):
    assert student.architecture == ARCHITECTURE
    assert student.metrics == {"accuracy": 0.5, "training_cross_entropy": 0.5}
    assert not student.is_final


def test_weights_that_are_gone_or_damaged_are_named(student: TrainedStudent):
    with pytest.raises(
        InputError, match=r"the weights of this student are gone, or were not told: there is no .*weights.safetensors"
    ):
        student.module()
    student.weights.write_bytes(b"damaged")
    with pytest.raises(InputError, match="cannot be read"):
        student.module()


@pytest.mark.parametrize("seed", range(8))
def test_the_best_student_is_found_without_reading_all(make_problem, make_store, seed: int) -> None:
    problem = make_problem()
    store = make_store(problem)
    record_randomly(store, acquire(store, 1), seed, students=1 + seed % 2)
    for within in (Budget(), Budget(params=4), Budget(macs=3, memory_bytes=9), Budget(params=1, macs=1)):
        of_all, of_few = (
            next((one for one in students if within.fits(one.row.cost)), None)
            for students in (
                trained_students(problem, store, 1, architectures=False),
                best_students(problem, store, 1, within),
            )
        )
        assert of_few == of_all
        assert of_all is None or of_all.trial.state != "failed"


@pytest.mark.parametrize("seed", range(8))
def test_fronts_of_the_leading_students_are_those_of_all(make_problem, make_store, seed: int, monkeypatch) -> None:
    monkeypatch.setattr("autokd.searches.students.AT_ONCE", 3)
    problem = make_problem()
    store = make_store(problem)
    record_randomly(store, acquire(store, 1), seed, students=1 + seed % 2)
    students, references = (read(problem, store, 1) for read in (trained_students, reference_students))
    students = [replace(one, row=replace(one.row, architecture=UNREAD)) for one in students]
    leading = leading_students(problem, store, 1)
    assert all(one.trial.state != "failed" for one in leading)
    for against in ("params", "macs", "memory_bytes"):
        assert pareto_fronts(leading, against) == pareto_fronts([*students, *references], against)
    assert leading[:1] == [*students, *references][:1]
    assert [one for one in leading if one.is_final] == [one for one in [*students, *references] if one.is_final]
    means = mean_costs(store, 1, "params", "memory_bytes")
    for number, record in trial_records(store, 1).items():
        assert means[number] == record.costs(["params", "memory_bytes"])
