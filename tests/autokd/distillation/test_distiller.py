import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autokd.distillation import CTKD, DML, KD, Distiller, FitNet, kd_loss, make_method
from autokd.errors import InputError

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def network(width: int, seed: int) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(2 * width, 3),
        )


@pytest.fixture
def student() -> nn.Sequential:
    return network(4, 0)


@pytest.fixture
def teacher() -> nn.Sequential:
    return network(6, 1)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(2))


def test_the_loss_is_that_of_the_method(student: nn.Module, teacher: nn.Module, images: Tensor) -> None:
    loss = Distiller(KD(3.0, 0.4), student, teacher, images)(images, LABELS)
    logits = student(images)
    expected = 0.6 * F.cross_entropy(logits, LABELS) + 0.4 * kd_loss(logits, teacher.eval()(images), 3.0)
    torch.testing.assert_close(loss, expected)


def test_a_callable_teacher_provides_logits_only(student: nn.Module, images: Tensor) -> None:
    def brightness(images: Tensor) -> Tensor:
        return images.mean((1, 2, 3))[:, None] * torch.tensor([1.0, 2.0, 3.0])

    loss = Distiller(KD(1.0, 1.0), student, brightness, images)(images, LABELS)
    torch.testing.assert_close(loss, kd_loss(student(images), brightness(images), 1.0))
    with pytest.raises(InputError, match="needs the teacher's features, so the teacher must be a module"):
        Distiller(FitNet(), student, brightness, images)


@pytest.mark.parametrize("name", ["fitnet", "kd+rkd", "reviewkd", "ctkd+kd", "crd"])
def test_student_and_method_learn_and_the_teacher_does_not(
    name, student: nn.Module, teacher: nn.Module, images: Tensor
) -> None:
    before = {key: tensor.clone() for key, tensor in teacher.state_dict().items()}
    torch.manual_seed(0)  # for the methods' initial parameters and the negatives that crd draws in each step
    distiller = Distiller(make_method(name, {}), student, teacher, images, LABELS)
    optimiser = torch.optim.SGD([*student.parameters(), *distiller.parameters()], lr=0.001)
    losses = []
    for _ in range(8):
        optimiser.zero_grad()
        loss = distiller(images, LABELS, torch.arange(6))
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert min(losses[1:]) < losses[0]
    assert all(torch.equal(tensor, before[key]) for key, tensor in teacher.state_dict().items())
    assert not any(parameter.grad is not None for parameter in teacher.parameters())


def test_companions_run_beside_the_student_and_learn(student: nn.Module, teacher: nn.Module, images: Tensor) -> None:
    distiller = Distiller(DML(), student, teacher, images, fresh=lambda number: network(4, 3 + number))
    (companion,) = distiller.method.companions
    loss = distiller(images, LABELS)
    ours, theirs = student(images), companion(images)
    expected = F.cross_entropy(ours, LABELS) + F.cross_entropy(theirs, LABELS)
    torch.testing.assert_close(loss, expected + kd_loss(ours, theirs, 1.0) + kd_loss(theirs, ours, 1.0))
    loss.backward()
    assert all(parameter.grad is not None for parameter in companion.parameters())
    with pytest.raises(InputError, match=r"companions: pass what makes one, Distiller\(..., fresh=...\)"):
        Distiller(DML(), student, teacher, images)


@pytest.mark.parametrize("rate", [0.25, 1.0])
def test_companions_learn_at_a_share_of_the_students_rate(
    rate: float, student: nn.Module, teacher: nn.Module, images: Tensor
) -> None:
    settings: dict[str, float | str] = {"fitnet.weight": 1.0, "sokd.companion_rate": rate}
    distiller = Distiller(make_method("sokd+fitnet", settings), student, teacher, images, teacher_layers=["2", "4"])
    (companion,) = distiller.method.companions
    own, theirs = distiller.parameter_groups(0.1)
    assert (own["lr"], theirs["lr"]) == (0.1, 0.1 * rate)
    assert set(theirs["params"]) == set(companion.parameters())
    assert set(own["params"]) == set(distiller.parameters()) - set(companion.parameters())
    assert Distiller(KD(), student, teacher, images).parameter_groups(0.1) == []


@pytest.mark.parametrize("name", ["sokd", "bd-kd-online"])
def test_a_copy_of_the_teacher_learns_and_the_teacher_does_not(
    name: str, student: nn.Module, teacher: nn.Module, images: Tensor
) -> None:
    before = {key: tensor.clone() for key, tensor in teacher.state_dict().items()}
    distiller = Distiller(make_method(name, {}), student, teacher, images, teacher_layers=["2", "4"])
    (companion,) = distiller.method.companions
    optimiser = torch.optim.SGD(distiller.parameters(), lr=0.01)
    distiller(images, LABELS).backward()
    optimiser.step()
    assert not torch.equal(companion.network[6].weight, before["6.weight"])
    assert all(torch.equal(tensor, before[key]) for key, tensor in teacher.state_dict().items())
    assert not any(parameter.grad is not None for parameter in teacher.parameters())
    with pytest.raises(InputError, match="trains a copy of the teacher, so the teacher must be a module"):
        Distiller(make_method(name, {}), student, lambda images: images.flatten(1)[:, :3], images)


def test_assistants_run_beside_the_teacher_and_do_not_learn(
    student: nn.Module, teacher: nn.Module, images: Tensor
) -> None:
    assistant = network(5, 2).train()
    distiller = Distiller(make_method("takd+kd"), student, teacher, images, panel=[teacher, assistant])
    assert not assistant.training
    loss = distiller(images, LABELS)
    torch.testing.assert_close(loss, Distiller(KD(), student, assistant, images)(images, LABELS))
    loss.backward()
    assert all(parameter.grad is None for parameter in assistant.parameters())
    with pytest.raises(InputError, match="learns from assistants, too, but there are none"):
        Distiller(make_method("takd+kd"), student, teacher, images)


def test_assistants_of_half_precision_teach_in_float32(student: nn.Module, teacher: nn.Module, images: Tensor) -> None:
    """Such networks give bfloat16, of which a loss keeps three digits."""
    assistant = network(5, 2).eval()
    half = Distiller(
        make_method("takd+kd"), student, teacher, images, panel=[lambda samples: assistant(samples).bfloat16()]
    )
    rounded = Distiller(KD(), student, lambda samples: assistant(samples).bfloat16().float(), images)
    torch.testing.assert_close(half(images, LABELS), rounded(images, LABELS), rtol=0, atol=0)


def test_its_parameters_and_state_are_those_of_the_method(
    student: nn.Module, teacher: nn.Module, images: Tensor
) -> None:
    distiller = Distiller(CTKD(KD()), student, teacher, images)
    names = [name for name, _ in distiller.named_parameters()]
    assert names == list(distiller.state_dict()) == ["method.theta.value"]


def test_preparing_does_not_change_the_student_and_sets_the_teacher_to_evaluation(
    student: nn.Module, teacher: nn.Module, images: Tensor
) -> None:
    before = {key: tensor.clone() for key, tensor in student.state_dict().items()}
    distiller = Distiller(FitNet(), student.train(), teacher.train(), images)
    assert all(torch.equal(tensor, before[key]) for key, tensor in student.state_dict().items())
    assert (student.training, teacher.training) == (True, False)
    distiller.close()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in student.modules())


def test_layers_can_be_named(student: nn.Module, teacher: nn.Module, images: Tensor) -> None:
    named = Distiller(FitNet(), student, teacher, images, student_layers=["3"], teacher_layers=["3"])
    assert named(images, LABELS).isfinite()
    with pytest.raises(InputError, match="no module 'conv9'"):
        Distiller(FitNet(), student, teacher, images, student_layers=["conv9"])


@pytest.mark.parametrize("name", ["crd", "standardise+kd+crd", "early-stopping+crd"])
def test_a_method_that_remembers_samples_asks_for_their_labels_and_indices(
    name: str, student: nn.Module, teacher: nn.Module, images: Tensor
) -> None:
    with pytest.raises(InputError, match=r"remembers all training samples: pass their labels, Distiller\(..., labels="):
        Distiller(make_method(name), student, teacher, images)
    distiller = Distiller(make_method(name), student, teacher, images, LABELS)
    with pytest.raises(InputError, match="pass the indices of those in the batch"):
        distiller(images, LABELS)
