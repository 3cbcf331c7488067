import pytest
import torch
from torch import nn

from autokd.config.teacher import TeacherConfig
from autokd.errors import InputError
from autokd.teachers.graph import traced_teacher
from autokd.teachers.preparation import Preparation
from autokd.teachers.registry import Teacher, teacher_of

CPU = torch.device("cpu")


def test_the_graph_is_that_of_the_network_at_the_size_that_it_sees(make_dataset) -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 7))
    config = TeacherConfig(factory="a:b", resize=(12, 12), classes=(0, 3, 6))
    teacher = teacher_of(network, "name", config, make_dataset())
    graph = traced_teacher(teacher, (1, 6, 6), CPU).architecture
    assert (graph.input_shape, graph.classes) == ((1, 12, 12), 7)


def test_what_is_no_module_has_no_graph() -> None:
    with pytest.raises(InputError, match="the teacher is no torch module, so its graph is not known"):
        traced_teacher(Teacher(lambda x: x, "name"), (4,), CPU)


def test_a_network_that_cannot_even_be_tried_is_one_line() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).double()
    with pytest.raises(InputError, match="the teacher's graph cannot be copied: "):
        traced_teacher(Teacher(network, "name"), (1, 2, 2), CPU)


def test_a_network_of_vectors_that_images_are_made_of_has_no_graph_for_them() -> None:
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    teacher = Teacher(network, "name", Preparation(function=lambda images: images.flatten(1)))
    with pytest.raises(InputError, match="its inputs are of another kind than the samples"):
        traced_teacher(teacher, (1, 2, 2), CPU)
