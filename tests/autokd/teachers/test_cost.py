import torch
from torch import Tensor, nn

from autokd.recipes.teachers import fashion_mnist
from autokd.teachers.cost import TeacherCost, measure_cost
from autokd.teachers.preparation import Preparation
from autokd.teachers.teacher import Teacher
from search_spaces.architecture.cost import cost
from search_spaces.networks.traced import trace

CPU = torch.device("cpu")


def test_the_fashion_mnist_teacher_needs_three_maps_of_its_first_block() -> None:
    measured = measure_cost(Teacher(fashion_mnist(), "teacher"), (1, 28, 28), CPU)
    assert (measured.params, measured.activation_bytes) == (873_450, 3 * 4 * 32 * 28 * 28)


def test_a_teacher_that_resizes_is_measured_at_its_own_resolution() -> None:
    teacher = Teacher(nn.Conv2d(1, 2, 1), "teacher", Preparation(resize=(12, 12)))
    assert measure_cost(teacher, (1, 6, 6), CPU).activation_bytes == 4 * 12 * 12 * (1 + 2)


def test_weights_that_are_zero_and_statistics_are_counted() -> None:
    linear, norm = nn.Linear(3, 2), nn.BatchNorm1d(2)
    nn.init.zeros_(linear.weight)  # 6 of 12 parameters
    nn.init.ones_(linear.bias)
    nn.init.ones_(norm.bias)
    measured = measure_cost(Teacher(nn.Sequential(linear, norm), "teacher"), (3,), CPU)
    assert (measured.params, measured.nonzero_params, measured.macs) == (12, 6, 6)
    assert measured.model_bytes == 4 * (12 + 2 * 2)
    assert measured.activation_bytes is not None
    assert measured.memory_bytes == measured.model_bytes + measured.activation_bytes


def test_a_teacher_is_counted_as_a_student_of_its_structure() -> None:
    maps = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2))
    network = nn.Sequential(*maps, nn.Conv2d(16, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 10))
    of_teacher = measure_cost(Teacher(network, "teacher"), (1, 8, 8), CPU)
    of_student = cost(trace(network, torch.randn(2, 1, 8, 8)).architecture)
    assert (of_teacher.activation_bytes, of_teacher.macs) == (of_student.activation_bytes, of_student.macs)


def test_a_callable_has_no_figures_but_the_parameters_that_it_is_said_to_have() -> None:
    teacher = Teacher(lambda x: x, "teacher", parameter_count=7)
    assert measure_cost(teacher, (3,), CPU) == TeacherCost(params=7)


class Attending(nn.Module):
    """A layer of a transformer, which on a CPU runs as one call without gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, samples: Tensor) -> Tensor:
        return self.layer(samples.transpose(1, 2)).mean(1)


class Recurrent(nn.Module):
    """An LSTM, which on a CPU runs as one call of oneDNN."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(8, 6, batch_first=True)

    def forward(self, samples: Tensor) -> Tensor:
        return self.layer(samples.transpose(1, 2))[0][:, -1]


def test_layers_that_run_as_one_call_count_as_what_they_consist_of() -> None:
    n, width, inner = 4, 8, 16
    attention = n * width * 3 * width + 2 * n * n * width + n * width * width + 2 * n * width * inner
    assert measure_cost(Teacher(Attending(), "t"), (width, n), CPU).macs == attention
    assert measure_cost(Teacher(Recurrent(), "t"), (width, n), CPU).macs == n * 4 * 6 * (8 + 6)
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_teacher_may_take_a_dict() -> None:
    class OfDict(nn.Module):
        def forward(self, inputs: dict[str, Tensor]) -> Tensor:
            return inputs["x"] * 2

    cost = measure_cost(Teacher(OfDict(), "t", Preparation(function=lambda x: {"x": x})), (5,), CPU)
    assert cost.activation_bytes == 4 * 5  # the product writes over what is given
