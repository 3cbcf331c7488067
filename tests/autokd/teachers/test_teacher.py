import hashlib

import pytest
import torch
from torch import nn

from autokd.data.augmentation import Augmentation
from autokd.data.dataset import Dataset
from autokd.data.stream import TrainingStream, normalise
from autokd.teachers.logits import Reading
from autokd.teachers.preparation import Preparation
from autokd.teachers.teacher import Teacher

CPU = torch.device("cpu")


def test_a_teacher_is_frozen_in_evaluation_mode_and_gives_float32(make_network) -> None:
    teacher = Teacher(make_network().double(), "name")
    logits = teacher(torch.randn(2, 1, 6, 6, dtype=torch.float64))
    assert teacher.network is not None
    assert not any(part.training for part in teacher.network.modules())
    assert (logits.requires_grad, logits.dtype) == (False, torch.float32)


def test_a_teacher_prepares_its_inputs_and_reads_its_outputs() -> None:
    preparation = Preparation(data=((2.0,), (3.0,)), function=lambda batch: batch.numpy())
    teacher = Teacher(lambda array: {"scores": array[:, :, 0, 0]}, "name", preparation, Reading("scores", (1, 0)))
    assert teacher(torch.ones(2, 3, 4, 4)).tolist() == [[5, 5], [5, 5]]


def test_a_teacher_that_overwrites_its_inputs_leaves_the_batch_alone() -> None:
    batch = torch.ones(2, 1, 3, 3)
    assert Teacher(lambda images: images.mul_(5).flatten(1), "name")(batch).unique().tolist() == [5]
    assert batch.unique().tolist() == [1]


def test_only_a_module_can_be_looked_into_and_counted(make_network) -> None:
    network = make_network()
    teacher, function = Teacher(network, "name"), Teacher(lambda images: images, "name")
    assert teacher.network is network
    assert teacher.parameter_count == sum(parameter.numel() for parameter in network.parameters())  # type: ignore[misc]
    assert (function.network, function.parameter_count) == (None, None)
    assert Teacher(lambda images: images, "name", parameter_count=7).parameter_count == 7


def test_the_digest_is_of_the_weights_and_the_name(make_network) -> None:
    digests = {Teacher(make_network(), "a").digest, Teacher(make_network(), "a").digest}
    assert len(digests) == 1
    for name in make_network().state_dict():
        other = make_network()
        with torch.no_grad():
            other.state_dict()[name].view(-1)[-1] += 1
        digests.add(Teacher(other, "a").digest)
    digests |= {Teacher(make_network(), "b").digest, Teacher(make_network().double(), "a").digest}
    assert len(digests) == 1 + len(make_network().state_dict()) + 2


def test_the_digest_stays_what_it_was_in_older_searches() -> None:
    network = nn.Linear(1, 1)
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    content = b"a" + b"biastorch.float32(1,)" + bytes(4) + b"weighttorch.float32(1, 1)" + bytes(4)
    assert Teacher(network, "a").digest == hashlib.sha256(content).hexdigest()


def test_the_digest_does_not_depend_on_the_memory_format(make_network) -> None:
    last = make_network().to(memory_format=torch.channels_last)
    assert Teacher(last, "a").digest == Teacher(make_network(), "a").digest


def test_a_batch_and_a_split_are_given_sample_by_sample(dataset: Dataset, make_network) -> None:
    teacher = Teacher(make_network(), "name")
    batch = TrainingStream(dataset, Augmentation(shift=1), 16, 3, 7, CPU).batch(torch.arange(5), 1)
    assert torch.equal(teacher.on_batch(batch), teacher(batch.images))
    singly = [teacher(normalise(image[None], dataset.normalisation)) for image in dataset.test.images]
    torch.testing.assert_close(teacher.on_split(dataset, "test", CPU), torch.cat(singly))
    assert teacher.knows("test")


@pytest.mark.parametrize(
    ("resize", "shape", "size"),
    [(None, (1, 28, 28), 500), (None, (64,), 500), ((224, 224), (3, 64, 64), 53), ((4000, 4000), (3, 64, 64), 1)],
)
def test_fewer_samples_are_asked_about_at_once_where_they_are_large(resize, shape, size: int) -> None:
    assert Teacher(lambda images: images, "name", Preparation(resize=resize)).largest_batch(shape) == size


class WithExtra(nn.Linear):
    """A module that keeps more than tensors in its state."""

    def __init__(self, extra: int) -> None:
        super().__init__(4, 3)
        nn.init.ones_(self.weight)
        nn.init.ones_(self.bias)
        self.extra = extra

    def get_extra_state(self) -> int:
        return self.extra

    def set_extra_state(self, state: int) -> None:
        self.extra = state


def quantised(weight: float) -> nn.Module:
    layer = nn.Linear(4, 3)
    nn.init.constant_(layer.weight, weight)
    nn.init.zeros_(layer.bias)
    module: nn.Module = torch.ao.quantization.quantize_dynamic(nn.Sequential(layer), {nn.Linear})
    return module


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: WithExtra(1), lambda: WithExtra(2)),
        (lambda: quantised(1.0), lambda: quantised(2.0)),
        (lambda: torch.jit.script(WithExtra(1)), lambda: torch.jit.script(nn.Linear(4, 3))),
    ],
    ids=["extra state", "quantised", "scripted"],
)
@pytest.mark.filterwarnings("ignore")  # torch warns of two of the makes
def test_a_module_of_any_make_can_teach(one, other) -> None:
    teacher = Teacher(one(), "t")
    assert teacher(torch.ones(2, 4)).shape == (2, 3)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert teacher.digest == Teacher(one(), "t").digest != Teacher(other(), "t").digest


def test_an_exported_program_can_teach() -> None:
    program = torch.export.export(nn.Linear(4, 3).eval(), (torch.ones(2, 4),)).module()
    assert Teacher(program, "t")(torch.ones(2, 4)).shape == (2, 3)
