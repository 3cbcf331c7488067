from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autokd.config import AugmentationConfig, DataConfig, TeacherConfig, TrainingConfig
from autokd.data.sources import load_data
from autokd.lessons import Answers, LessonPlan, missing_answers, prepare_answers
from autokd.teachers.teacher import Teacher, load_teacher
from autokd.training.metrics import predict

DATA = DataConfig(source="digits", subset=128)
TEACHER = TeacherConfig(factory="autokd.recipes.teachers:digits", weights="autokd.recipes:digits.safetensors")
TRAINING = TrainingConfig(rungs=(1.0, 3.0), batch_size=32, views=2, precision="float32")
VALIDATION = Answers(0, part="validation")
OF_OBJECT = Teacher(lambda images: torch.zeros(len(images), 10), "object")


@pytest.fixture
def plan(tmp_path: Path) -> LessonPlan:
    digests = load_data(DATA).digest, load_teacher(TEACHER, torch.device("cpu")).digest
    return LessonPlan(DATA, digests[0], TEACHER, digests[1], TRAINING, 5, tmp_path / "teachers", "cpu")


def with_courses(plan: LessonPlan, epochs: float, alternatives: int = 0, checkpoints: int = 0) -> LessonPlan:
    """A plan of more teachers, which are never loaded."""
    further = {
        "alternatives": tuple(f"short-{k}.pth" for k in range(alternatives)),
        "checkpoints": tuple(f"epoch-{k}.pth" for k in range(checkpoints)),
    }
    training = TRAINING.model_copy(update={"rungs": (epochs,)})
    return replace(plan, teacher=TEACHER.model_copy(update=further), training=training)


def test_the_teacher_is_only_asked_for_what_is_not_there(plan: LessonPlan):
    assert missing_answers(plan) == [Answers(0, 0), Answers(0, 1), VALIDATION]
    prepare_answers(plan, Answers(0, 0))
    assert missing_answers(plan) == [Answers(0, 1), VALIDATION]
    prepare_answers(plan, Answers(0, 1), OF_OBJECT)
    prepare_answers(plan, VALIDATION, OF_OBJECT)
    assert missing_answers(plan) == []
    prepare_answers(replace(plan, teacher=TeacherConfig()), VALIDATION)  # which could not be made


def test_answers_for_a_split_are_the_teachers_outputs_in_its_order(plan: LessonPlan):
    prepare_answers(plan, VALIDATION)
    dataset, teacher = load_data(DATA), load_teacher(TEACHER, torch.device("cpu"))
    expected = predict(teacher, dataset.validation, dataset.normalisation)
    assert torch.equal(plan.stored().read("validation").logits, expected.half())


def test_answers_for_a_view_are_of_its_augmented_samples(plan: LessonPlan):
    shifted = replace(plan, training=TRAINING.model_copy(update={"augmentation": AugmentationConfig(shift=2)}))
    prepare_answers(shifted, Answers(0, 1))
    dataset, teacher = load_data(DATA), load_teacher(TEACHER, torch.device("cpu"))
    images = torch.cat([batch.images for batch in shifted.stream(dataset).whole_view(1, 50)])
    torch.testing.assert_close(shifted.stored().read("view-0001").logits, teacher(images).half())


@pytest.mark.parametrize(("last", "views", "needed"), [(3.0, 4, 3), (3.5, 9, 4), (0.5, 4, 1), (30.0, 4, 4)])
def test_views_are_as_many_as_the_training_shows(plan: LessonPlan, last: float, views: int, needed: int):
    training = plan.training.model_copy(update={"rungs": (last,), "views": views})
    answers = replace(plan, training=training).answers_needed
    assert answers == [*(Answers(0, view) for view in range(needed)), VALIDATION]


def test_an_alternative_teaches_alone(plan: LessonPlan):
    two = with_courses(plan, 3.0, alternatives=1)
    assert [two.teacher_at(1, epoch) for epoch in range(3)] == [1, 1, 1]
    assert two.last_teacher(1) == 1
    assert Answers(1, part="validation") in two.answers_needed


@pytest.mark.parametrize(
    ("epochs", "checkpoints", "teachers"),
    [
        (4.0, 4, [1, 2, 3, 4]),
        (8.0, 4, [1, 1, 1, 2, 2, 3, 3, 4]),  # the earlier one where two are as near
        (2.0, 4, [2, 4]),
        (1.0, 4, [4]),
    ],
)
def test_checkpoints_teach_the_epochs_that_they_are_nearest_to(plan, epochs: float, checkpoints: int, teachers):
    course = with_courses(plan, epochs, checkpoints=checkpoints)
    assert [course.teacher_at(1, epoch) for epoch in range(int(epochs))] == teachers
    assert course.last_teacher(1) == checkpoints
    assert course.last_teacher(0) == 0


def test_each_teacher_has_outputs_of_its_own(plan: LessonPlan):
    two = replace(with_courses(plan, 3.0, alternatives=1), further_digests=("other",))
    assert two.stored(0) == plan.stored(0)
    assert two.stored(1) != two.stored(0)
