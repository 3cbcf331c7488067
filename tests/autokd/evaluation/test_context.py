from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autokd.config.schema import AugmentationConfig, DataConfig, TeacherConfig, TrainingConfig
from autokd.data.registry import load_data
from autokd.distillation.base import Need
from autokd.errors import InputError
from autokd.evaluation.context import TrainingContext
from autokd.evaluation.precompute import missing_outputs, output_shapes, precompute_outputs
from autokd.teachers import process_cache
from autokd.teachers.features import TeacherWithFeatures
from autokd.teachers.outputs import shapes
from autokd.teachers.outputs.key import OutputsKey
from autokd.teachers.outputs.reader import ViewReader
from autokd.teachers.outputs.shapes import OutputShapes
from autokd.teachers.registry import Teacher, load_teacher
from autokd.training.metrics import predict

DATA = DataConfig(source="digits", subset=128)
TEACHER = TeacherConfig(factory="autokd.recipes.teachers:digits", weights="autokd.recipes:digits.safetensors")
TRAINING = TrainingConfig(rungs=(1.0, 3.0), batch_size=32, views=2, precision="float32")
VALIDATION = OutputsKey(0, part="validation")
ALL: frozenset[Need] = frozenset({"embedding", "features"})
SHAPES = OutputShapes(128, 10)
OF_OBJECT = Teacher(lambda images: torch.zeros(len(images), 10), "object")


@pytest.fixture
def context(tmp_path: Path) -> TrainingContext:
    digests = load_data(DATA).digest, load_teacher(TEACHER, torch.device("cpu")).digest
    return TrainingContext(DATA, digests[0], TEACHER, digests[1], TRAINING, 5, tmp_path / "teachers", "cpu")


def with_schedules(
    context: TrainingContext, epochs: float, alternatives: int = 0, checkpoints: int = 0
) -> TrainingContext:
    """A plan of more teachers, which are never loaded."""
    further = {
        "alternatives": tuple(f"short-{k}.pth" for k in range(alternatives)),
        "checkpoints": tuple(f"epoch-{k}.pth" for k in range(checkpoints)),
    }
    training = TRAINING.model_copy(update={"rungs": (epochs,)})
    return replace(context, teacher=TEACHER.model_copy(update=further), training=training)


def chunks(view: int, *numbers: int) -> list[OutputsKey]:
    return [OutputsKey(0, view, chunk=number) for number in numbers]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of the 102 training samples."""
    monkeypatch.setattr(shapes, "CHUNK_SAMPLES", 50)


def test_the_teacher_is_only_asked_for_what_is_not_there(context: TrainingContext):
    assert missing_outputs(context) == [*chunks(0, 0, 1, 2), *chunks(1, 0, 1, 2), VALIDATION]
    precompute_outputs(context, OutputsKey(0, 0))
    precompute_outputs(context, chunks(1, 1)[0])
    assert missing_outputs(context) == [*chunks(1, 0, 2), VALIDATION]
    precompute_outputs(context, OutputsKey(0, 1), OF_OBJECT)
    precompute_outputs(context, VALIDATION, OF_OBJECT)
    assert missing_outputs(context) == []
    precompute_outputs(replace(context, teacher=TeacherConfig()), VALIDATION)  # which could not be made


def test_outputs_for_a_split_are_the_teachers_outputs_in_its_order(context: TrainingContext):
    precompute_outputs(context, VALIDATION)
    dataset, teacher = load_data(DATA), load_teacher(TEACHER, torch.device("cpu"))
    expected = predict(teacher, dataset.validation, dataset.normalisation)
    assert torch.equal(context.stored().read("validation").logits, expected.half())


def test_the_first_to_ask_remembers_the_shapes_for_all(context: TrainingContext):
    context = replace(context, needs=ALL)
    found = output_shapes(context)
    assert found == OutputShapes(128, 10, 64, ((16, 8, 8), (32, 4, 4), (64, 2, 2)))
    assert output_shapes(replace(context, teacher=TeacherConfig())) == found  # which could not be made


def test_embedding_and_features_are_what_a_teacher_with_hooks_gives(context: TrainingContext):
    context = replace(context, needs=ALL)
    precompute_outputs(context, OutputsKey(0, 0))
    dataset = load_data(DATA)
    live_teacher = TeacherWithFeatures(load_teacher(TEACHER, torch.device("cpu")), ALL, "float32")
    expected = live_teacher(context.stream(dataset).batch(torch.arange(128), 0))
    stored = context.stored().read("view-0000", frozenset({"logits", *ALL}), 3)
    with closing(ViewReader(stored, output_shapes(context).features, torch.device("cpu"))) as reader:
        found = reader.of(torch.arange(128))
    torch.testing.assert_close(vars(found), vars(expected), rtol=1e-3, atol=1e-3)


def test_a_named_layer_has_files_of_its_own(context: TrainingContext):
    named = replace(context, teacher=TEACHER.model_copy(update={"layers": ("stem",)}), needs=ALL)
    assert output_shapes(named).features == ((16, 8, 8),)
    assert named.stored() != context.stored()


@pytest.mark.parametrize(
    ("limit", "stored"),
    [(2 * 128 * 2 * (74 + 1792), {"logits", *ALL}), (2 * 128 * 2 * 74, {"logits", "embedding"}), (0, set())],
)
def test_as_much_is_stored_as_the_limit_allows_for_all_views(context: TrainingContext, limit: int, stored: set[str]):
    context = replace(context, needs=ALL, teacher=TEACHER.model_copy(update={"disk_bytes": limit}))
    assert context.disk_budget(output_shapes(context)).stored == stored
    precompute_outputs(context, OutputsKey(0, 0))
    files = {file.name.split("-")[2] for file in context.stored().folder.glob("view-*")}
    assert files == stored


def test_the_limit_decides_for_all_teachers_together(context: TrainingContext):
    two = with_schedules(context, 3.0, alternatives=1)
    limit = 4 * 128 * 2 * 10
    allowed, refused = (
        replace(two, teacher=two.teacher.model_copy(update={"disk_bytes": n})) for n in (limit, limit - 1)
    )
    assert allowed.disk_budget(SHAPES).stored == {"logits"}
    assert refused.disk_budget(SHAPES).stored == set()


def test_a_crash_costs_the_chunk_that_was_being_computed(context: TrainingContext, monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []

    def crash(images: torch.Tensor) -> torch.Tensor:
        asked.append(len(images))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return torch.zeros(len(images), 10)

    output_shapes(context)
    with pytest.raises(KeyboardInterrupt):
        precompute_outputs(context, OutputsKey(0, 0), Teacher(crash, "object"))
    assert [key for key in missing_outputs(context) if key.view == 0] == chunks(0, 1, 2)
    precompute_outputs(context, OutputsKey(0, 0), Teacher(crash, "object"))
    assert asked == [50, 50, 50, 28]


def test_a_damaged_chunk_is_missing_and_computed_again(context: TrainingContext):
    precompute_outputs(context, OutputsKey(0, 0))
    file = sorted(context.stored().folder.glob("view-*"))[1]
    whole = file.read_bytes()
    file.write_bytes(whole[:200] + b"?" + whole[201:])
    assert [key for key in missing_outputs(context) if key.view == 0] == chunks(0, 1)
    precompute_outputs(context, OutputsKey(0, 0))
    assert file.read_bytes() == whole


def test_loading_a_teacher_moves_no_random_state(context: TrainingContext):
    process_cache._loaded.clear()
    before = torch.get_rng_state()
    context.load_teacher(0, load_data(DATA))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_only_an_object_could_compute_again_is_asked_of_the_user(context: TrainingContext):
    output_shapes(context)
    with pytest.raises(InputError, match="the teacher was given as an object, and not all of its outputs are stored"):
        precompute_outputs(replace(context, teacher=TeacherConfig()), OutputsKey(0, 0))


def test_views_of_an_unknown_object_are_missing_whole(context: TrainingContext):
    context = replace(context, teacher=TeacherConfig())
    assert missing_outputs(context) == context.outputs_needed
    precompute_outputs(context, OutputsKey(0, 0), OF_OBJECT)
    assert missing_outputs(context) == [*chunks(1, 0, 1, 2), VALIDATION]


def test_outputs_for_a_view_are_of_its_augmented_samples(context: TrainingContext):
    shifted = replace(context, training=TRAINING.model_copy(update={"augmentation": AugmentationConfig(shift=2)}))
    precompute_outputs(shifted, OutputsKey(0, 1))
    dataset, teacher = load_data(DATA), load_teacher(TEACHER, torch.device("cpu"))
    images = shifted.stream(dataset).batch(torch.arange(128), 1).images
    torch.testing.assert_close(shifted.stored().read("view-0001", n_chunks=3).logits, teacher(images).half())


@pytest.mark.parametrize(("last", "views", "needed"), [(3.0, 4, 3), (3.5, 9, 4), (0.5, 4, 1), (30.0, 4, 4)])
def test_views_are_as_many_as_the_training_shows(context: TrainingContext, last: float, views: int, needed: int):
    training = context.training.model_copy(update={"rungs": (last,), "views": views})
    key = replace(context, training=training).outputs_needed
    assert key == [*(OutputsKey(0, view) for view in range(needed)), VALIDATION]


def test_an_alternative_teaches_alone(context: TrainingContext):
    two = with_schedules(context, 3.0, alternatives=1)
    assert [two.teacher_at(1, epoch) for epoch in range(3)] == [1, 1, 1]
    assert two.last_teacher(1) == 1
    assert OutputsKey(1, part="validation") in two.outputs_needed


@pytest.mark.parametrize(
    ("epochs", "checkpoints", "teachers"),
    [
        (4.0, 4, [1, 2, 3, 4]),
        (8.0, 4, [1, 1, 1, 2, 2, 3, 3, 4]),  # the earlier one where two are as near
        (2.0, 4, [2, 4]),
        (1.0, 4, [4]),
    ],
)
def test_checkpoints_teach_the_epochs_that_they_are_nearest_to(context, epochs: float, checkpoints: int, teachers):
    teacher_schedule = with_schedules(context, epochs, checkpoints=checkpoints)
    assert [teacher_schedule.teacher_at(1, epoch) for epoch in range(int(epochs))] == teachers
    assert teacher_schedule.last_teacher(1) == checkpoints
    assert teacher_schedule.last_teacher(0) == 0


def test_each_teacher_has_outputs_of_its_own(context: TrainingContext):
    two = replace(with_schedules(context, 3.0, alternatives=1), further_digests=("other",))
    assert two.stored(0) == context.stored(0)
    assert two.stored(1) != two.stored(0)
