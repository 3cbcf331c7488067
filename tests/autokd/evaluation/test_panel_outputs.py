from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_teachers import pixels, pools

from autokd.config.schema import AugmentationConfig, DataConfig, TeacherConfig, TrainingConfig
from autokd.data.registry import load_data
from autokd.distillation import KD, BatchContext, make_method
from autokd.errors import InputError
from autokd.evaluation.context import TrainingContext
from autokd.evaluation.distillation_stream import DistillationStream
from autokd.evaluation.evaluate import evaluate
from autokd.evaluation.panel_outputs import PanelOutputs
from autokd.evaluation.precompute import missing_outputs, output_shapes, precompute_outputs
from autokd.evaluation.task import EvaluationTask
from autokd.teachers.outputs.key import OutputsKey
from autokd.teachers.panel import Assistant, Panel
from autokd.teachers.registry import load_teacher
from autokd.training.loop import TrainingSettings, TrainingState, optimiser
from search_spaces.architecture.format import Architecture, Node
from search_spaces.networks.network import build

CPU = torch.device("cpu")
DATA = DataConfig(source="digits", subset=128)
TEACHER = TeacherConfig(factory="autokd.recipes.teachers:digits", weights="autokd.recipes:digits.safetensors")
SMALL = {"pixels": pixels, "pools": pools}
ARCHITECTURE = Architecture((1, 8, 8), 10, (Node("input", (), 1), Node("classifier", (0,), 10)))
BOTH = (TEACHER.disk_bytes, 0)


@pytest.fixture
def alone(tmp_path: Path) -> TrainingContext:
    """Of a teacher without assistants."""
    training = TrainingConfig(
        rungs=(2.0,), batch_size=32, views=2, precision="float32", augmentation=AugmentationConfig(shift=1)
    )
    digests = load_data(DATA).digest, load_teacher(TEACHER, CPU).digest
    return TrainingContext(DATA, digests[0], TEACHER, digests[1], training, 5, tmp_path / "teachers", "cpu")


@pytest.fixture
def context(alone: TrainingContext) -> TrainingContext:
    """With two assistants."""
    configs = {name: TeacherConfig(factory=f"small_teachers:{name}") for name in SMALL}
    found = (Assistant(name, config, load_teacher(config, CPU).digest) for name, config in configs.items())
    return replace(alone, panel=Panel(tuple(found)))


def limited(context: TrainingContext, limit: int) -> TrainingContext:
    return replace(context, teacher=TEACHER.model_copy(update={"disk_bytes": limit}))


def test_assistants_are_the_last_teachers(alone: TrainingContext, context: TrainingContext) -> None:
    assert (alone.n_teachers, list(alone.assistants)) == (1, [])
    assert (context.n_teachers, list(context.assistants)) == (3, [1, 2])
    dataset = context.load_data()
    assert [context.load_teacher(n, dataset).parameter_count for n in (1, 2)] == [650, 170]


def test_their_outputs_are_stored_with_those_of_the_teacher(alone: TrainingContext, context: TrainingContext) -> None:
    added = set(context.outputs_needed) - set(alone.outputs_needed)
    assert set(alone.outputs_needed) < set(context.outputs_needed)
    assert added == {OutputsKey(n, view) for n in (1, 2) for view in (0, 1)}
    for key in missing_outputs(context):
        precompute_outputs(context, key)
    assert missing_outputs(context) == []


def test_a_part_of_the_panel_is_stored_as_the_whole_is(context: TrainingContext) -> None:
    assert context.panel is not None
    part, shapes = replace(context, panel=context.panel.of(["pools"])), output_shapes(context)
    assert context.disk_budget(shapes).n_logit_views == 4
    assert part.disk_budget(shapes) == context.disk_budget(shapes)


@pytest.mark.parametrize("limit", BOTH, ids=["stored", "running"])
def test_they_say_of_a_batch_what_the_networks_do(context: TrainingContext, limit: int) -> None:
    context = limited(context, limit)
    with closing(PanelOutputs(context, context.load_data(), output_shapes(context))) as panel:
        for batch in context.stream(context.load_data()).batches(2, 5):  # of two views
            for found, network in zip(panel.of(batch), SMALL.values(), strict=True):
                torch.testing.assert_close(found.logits, network()(batch.images), rtol=2e-3, atol=2e-3)


def test_assistants_that_changed_are_missed(context: TrainingContext) -> None:
    assert context.panel is not None
    changed = replace(context.panel.assistants[1], digest="f" * 64)
    other = replace(context, panel=Panel((context.panel.assistants[0], changed)))
    with pytest.raises(InputError, match="teacher small_teachers:pools changed since the search began"):
        other.load_teacher(2, other.load_data())


@pytest.mark.parametrize("limit", BOTH, ids=["stored", "running"])
@pytest.mark.parametrize("name", ["takd+kd", "takd+kd+crld"])
def test_the_student_learns_from_the_smallest(context: TrainingContext, name: str, limit: int) -> None:
    """Beside a method of several views, too, for which the teacher runs."""
    network, method = build(ARCHITECTURE), make_method(name)
    with closing(DistillationStream(limited(context, limit), context.load_data(), method, network, 0, 0)) as stream:
        batch = next(stream.batches(0, 1))
        logits, n = network(batch.images), len(batch.labels)
        outputs = stream._teacher_outputs(batch, 0)
        teacher_runs = method.n_views if method.n_views > 1 or not limit else 0
        assert stream.images_of(3)["live_teacher_images"] == 3 * n * (teacher_runs + (0 if limit else 2))
        torch.testing.assert_close(outputs.others[1].logits, pools()(batch.images[:n]), rtol=2e-3, atol=2e-3)
        if name == "takd+kd":
            loss = stream.loss(TrainingState(network, optimiser(TrainingSettings(), network)), 10)(logits, batch)
            moment = BatchContext(batch.labels, batch.indices)
            torch.testing.assert_close(loss, KD().loss(type(outputs)(logits), outputs.others[1], moment))


def test_only_keys_of_methods_with_a_panel_tell_of_it(
    alone: TrainingContext, context: TrainingContext, tmp_path: Path
) -> None:
    def key(context: TrainingContext, method: str) -> str:
        return EvaluationTask(context, ARCHITECTURE.to_json(), method, (), 0, 7, tmp_path).key

    assert context.panel is not None
    one = replace(context, panel=Panel(context.panel.assistants[:1]))
    assert key(context, "kd") == key(alone, "kd")
    assert len({key(each, "early-stopping+takd+kd") for each in (alone, one, context)}) == 3


def test_weights_that_were_found_reach_the_method(context: TrainingContext, tmp_path: Path) -> None:
    """All weight on one network teaches as that network alone does."""
    assert context.panel is not None
    whole = replace(context, panel=replace(context.panel, weights={"de": (0.0, 0.0, 1.0)}))
    found = [
        evaluate(EvaluationTask(whole, ARCHITECTURE.to_json(), method, (), 0, 7, tmp_path)).metrics
        for method in ("ensemble+kd", "takd+kd")
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-4)
