from contextlib import closing

import pytest
import torch
from torch import Tensor, nn

from autokd.data.stream import Batch
from autokd.distillation.base import Need
from autokd.errors import InputError
from autokd.teachers.features import TeacherWithFeatures
from autokd.teachers.registry import Teacher

NOTHING: frozenset[Need] = frozenset()
ALL: frozenset[Need] = frozenset({"embedding", "features"})


@pytest.fixture
def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pool = nn.AdaptiveAvgPool2d(1)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), pool, nn.Flatten(), nn.Linear(6, 3))


@pytest.fixture
def images() -> Tensor:
    return torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def batch_of(images: Tensor) -> Batch:
    return Batch(images, torch.zeros(len(images), dtype=torch.int64), torch.arange(len(images)), 0)


def test_logits_alone_are_the_teachers(network: nn.Sequential, images: Tensor) -> None:
    with closing(TeacherWithFeatures(Teacher(network, "name"), NOTHING, "float32")) as live_teacher:
        outputs = live_teacher(batch_of(images))
    assert torch.equal(outputs.logits, network(images))
    assert (outputs.embedding, outputs.features, outputs.logits.requires_grad) == (None, (), False)


def test_embedding_and_features_are_those_inside_of_the_network(network: nn.Sequential, images: Tensor) -> None:
    with closing(TeacherWithFeatures(Teacher(network, "name"), ALL, "float32")) as live_teacher:
        outputs = live_teacher(batch_of(images))
    assert torch.equal(outputs.embedding, network[:5](images))  # type: ignore[arg-type]
    assert [tuple(maps.shape) for maps in outputs.features] == [(5, 4, 6, 6), (5, 6, 4, 4)]
    assert torch.equal(outputs.features[1], network[:3](images))


def test_layers_may_be_named(network: nn.Sequential, images: Tensor) -> None:
    with closing(TeacherWithFeatures(Teacher(network, "name"), ALL, "float32", ["0"])) as live_teacher:
        (maps,) = live_teacher(batch_of(images)).features
    assert torch.equal(maps, network[0](images))


def test_a_function_computes_as_it_wants_in_bfloat16_too(network: nn.Sequential, images: Tensor) -> None:
    network.requires_grad_(False)
    teacher = Teacher(lambda batch: network(batch).numpy(), "name")  # NumPy has no bfloat16
    with closing(TeacherWithFeatures(teacher, NOTHING, "bfloat16")) as live_teacher:
        assert torch.equal(live_teacher(batch_of(images)).logits, network(images))


def test_in_bfloat16_the_teacher_computes_under_autocast(network: nn.Sequential, images: Tensor) -> None:
    with closing(TeacherWithFeatures(Teacher(network, "name"), ALL, "bfloat16")) as live_teacher:
        outputs = live_teacher(batch_of(images))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        live = network(images)
    assert torch.equal(outputs.logits, live.float())
    assert outputs.embedding.dtype == torch.float32
    assert not torch.equal(outputs.logits, network(images))


def test_a_closed_one_leaves_no_hooks(network: nn.Sequential) -> None:
    TeacherWithFeatures(Teacher(network, "name"), ALL, "float32", ["0"]).close()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_callable_gives_logits_alone(images: Tensor) -> None:
    teacher = Teacher(lambda images: images.mean((2, 3)), "name")
    assert TeacherWithFeatures(teacher, NOTHING, "float32")(batch_of(images)).logits.shape == (5, 1)
    with pytest.raises(InputError, match="needs the teacher's embedding and features, but the teacher is no torch"):
        TeacherWithFeatures(teacher, ALL, "float32")
