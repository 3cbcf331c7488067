import pytest
import torch
from torch import Tensor, nn

from autokd.data.dataset import Dataset
from autokd.errors import InputError
from autokd.teachers.logits import Reading
from autokd.teachers.teacher import Teacher
from autokd.teachers.validation import check_teacher, lowest_accuracy

CPU = torch.device("cpu")


def bands(images: Tensor) -> Tensor:
    return images[:, 0].unflatten(1, (3, 2)).mean((2, 3))


def constant(images: Tensor) -> Tensor:
    return torch.tensor([[5.0, 0.0, 0.0]]).expand(len(images), 3)


def test_a_good_teacher_gives_its_metrics(dataset: Dataset) -> None:
    metrics = check_teacher(Teacher(bands, "bands"), dataset, 0.9, CPU)
    assert metrics["accuracy"] == 1
    assert {"accuracy", "loss", "ece", "ece_scaled", "scaling_temperature", "auroc"} <= set(metrics)


@pytest.mark.parametrize(
    ("network", "floor", "message"),
    [
        (lambda x: -bands(x), None, "is 0.00%, hardly better than .* most frequent class .33.33%.*teacher.floor"),
        (constant, None, "is 33.33%, hardly better than"),
        (constant, 0.5, "is 33.33%, below teacher.floor = 50.00%"),
        (
            lambda x: torch.zeros(len(x), 7),
            None,
            r"gives \(7,\) outputs a sample, but .* 3 classes: teacher.classes says",
        ),
        (lambda x: torch.zeros(len(x), 2), None, r"gives \(2,\) outputs a sample, but the data has 3 classes\.$"),
        (lambda x: torch.zeros(len(x)), None, r"gives \(\) outputs a sample, but the data has 3 classes\.$"),
        (lambda x: bands(x) / 0, None, r"outputs are not finite: check its weights and what inputs it wants\.$"),
        (nn.Linear(5, 3), None, r"the teacher fails on images of \(1, 6, 6\): RuntimeError: mat1"),
        (
            lambda x: {"logits": x},
            None,
            "^the teacher returns a dict of 'logits' .*: set teacher.output to the one that",
        ),
        (lambda x: 40 * bands(x).softmax(1) / 40, None, "look like probabilities: set teacher.probabilities = true"),
    ],
    ids=[
        "worse than chance",
        "constant",
        "floor",
        "more",
        "fewer",
        "no matrix",
        "not finite",
        "failing",
        "dict",
        "probabilities",
    ],
)
def test_a_teacher_that_cannot_teach_is_refused_in_one_line(dataset: Dataset, network, floor, message) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check_teacher(Teacher(network, "name"), dataset, floor, CPU)
    assert "\n" not in str(caught.value)


def test_a_stated_floor_below_chance_is_the_users_word(dataset: Dataset) -> None:
    assert check_teacher(Teacher(constant, "constant"), dataset, 0.2, CPU)["accuracy"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("said", [True, False])
def test_who_says_what_the_outputs_are_is_believed(dataset: Dataset, said: bool) -> None:
    teacher = Teacher(lambda x: bands(x).softmax(1), "name", reading=Reading(probabilities=said))
    assert check_teacher(teacher, dataset, None, CPU)["accuracy"] == 1


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(6, 2), (6,)], ids=["signals", "vectors"])
def test_a_teacher_of_signals_or_vectors_is_checked_as_one_of_images(make_dataset, shape, dtype) -> None:
    def reads_thirds(inputs: Tensor) -> Tensor:
        return inputs.reshape(len(inputs), -1, 3, 2).mean((1, 3))

    dataset = make_dataset(shape=shape, dtype=dtype)
    assert check_teacher(Teacher(reads_thirds, "name"), dataset, 0.9, CPU)["accuracy"] > 0.9
    message = rf"the teacher fails on {dataset.train.kind} of \({dataset.input_shape[0]},.*\): "
    with pytest.raises(InputError, match=message):
        check_teacher(Teacher(nn.Conv2d(1, 2, 3), "name"), dataset, None, CPU)


def test_a_teacher_must_be_clearly_better_than_naming_the_most_frequent_class() -> None:
    assert lowest_accuracy(torch.tensor([0, 1, 2, 3])) == pytest.approx(0.375)
    assert lowest_accuracy(torch.tensor([0, 0, 0, 0, 1])) == pytest.approx(0.9)
