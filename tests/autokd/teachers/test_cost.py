import torch
from torch import nn

from autokd.recipes.teachers import fashion_mnist
from autokd.teachers.cost import TeacherCost, measure_cost
from autokd.teachers.preparation import Preparation
from autokd.teachers.teacher import Teacher

CPU = torch.device("cpu")


def test_the_fashion_mnist_teacher_needs_three_maps_of_its_first_block() -> None:
    cost = measure_cost(Teacher(fashion_mnist(), "teacher"), (1, 28, 28), CPU)
    assert (cost.params, cost.activation_bytes) == (873_450, 3 * 4 * 32 * 28 * 28)


def test_a_teacher_that_resizes_is_measured_at_its_own_resolution() -> None:
    teacher = Teacher(nn.Conv2d(1, 2, 1), "teacher", Preparation(resize=(12, 12)))
    assert measure_cost(teacher, (1, 6, 6), CPU).activation_bytes == 4 * 12 * 12 * (1 + 2)


def test_weights_that_are_zero_and_statistics_are_counted() -> None:
    linear, norm = nn.Linear(3, 2), nn.BatchNorm1d(2)
    nn.init.zeros_(linear.weight)  # 6 of 12 parameters
    nn.init.ones_(linear.bias)
    nn.init.ones_(norm.bias)
    cost = measure_cost(Teacher(nn.Sequential(linear, norm), "teacher"), (3,), CPU)
    assert (cost.params, cost.nonzero_params, cost.macs) == (12, 6, 6)
    assert cost.model_bytes == 4 * (12 + 2 * 2)
    assert cost.activation_bytes is not None
    assert cost.memory_bytes == cost.model_bytes + cost.activation_bytes


def test_a_callable_has_no_figures_but_the_parameters_that_it_is_said_to_have() -> None:
    teacher = Teacher(lambda x: x, "teacher", parameter_count=7)
    assert measure_cost(teacher, (3,), CPU) == TeacherCost(params=7)
