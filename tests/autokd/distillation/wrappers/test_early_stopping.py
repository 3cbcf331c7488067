import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autokd.distillation import KD, BatchContext, Method, Outputs
from autokd.distillation.wrappers.ctkd import CTKD
from autokd.distillation.wrappers.early_stopping import EarlyStopping
from autokd.errors import InputError
from autokd.testing.methods import MethodConformance


class TestAroundAWrapper(MethodConformance):
    method = EarlyStopping

    def make(self, **settings):
        return EarlyStopping(CTKD(KD()), **settings)


class Embeddings(Method):
    """Squared distance of regressed embeddings, which counts its calls."""

    name = "embeddings"
    needs = frozenset({"embedding"})
    n_views = 2

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    @staticmethod
    def distributions():
        return {}

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        self.regressor = nn.Linear(student.embedding.shape[1], teacher.embedding.shape[1])

    def label_weight(self, context: BatchContext) -> float:
        return 0.25

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        self.calls += 1
        return F.mse_loss(self.regressor(student.embedding), teacher.embedding)  # type: ignore[arg-type]


@pytest.fixture
def student() -> Outputs:
    generator = torch.Generator().manual_seed(0)
    return Outputs(torch.randn(7, 5, generator=generator), torch.randn(7, 3, generator=generator))


@pytest.fixture
def teacher() -> Outputs:
    generator = torch.Generator().manual_seed(1)
    return Outputs(torch.randn(7, 5, generator=generator), torch.randn(7, 4, generator=generator))


def context_at(progress: float) -> BatchContext:
    return BatchContext(torch.arange(7) % 5, torch.arange(7), progress=progress)


@pytest.mark.parametrize("progress", [0.0, 0.25, 0.599])
def test_at_first_it_is_the_inner_method(student: Outputs, teacher: Outputs, progress: float) -> None:
    found = EarlyStopping(KD(), 0.6).loss(student, teacher, context_at(progress))
    assert found == KD().loss(student, teacher, context_at(progress))


@pytest.mark.parametrize("progress", [0.6, 0.75, 0.999])
def test_then_it_is_plain_training(student: Outputs, teacher: Outputs, progress: float) -> None:
    context = context_at(progress)
    found = EarlyStopping(KD(), 0.6).loss(student, teacher, context)
    assert found == F.cross_entropy(student.logits, context.labels)


def test_after_the_stop_the_inner_method_is_not_called(student: Outputs, teacher: Outputs) -> None:
    method = EarlyStopping(Embeddings(), 0.5)
    method.prepare(student, teacher, context_at(0.0).labels)
    for progress in (0.25, 0.5, 0.75):
        method.loss(student, teacher, context_at(progress))
    assert method.inner.calls == 1


def test_after_the_stop_the_inner_methods_parameters_do_not_change(student: Outputs, teacher: Outputs) -> None:
    student.logits.requires_grad_()
    method = EarlyStopping(Embeddings(), 0.5)
    method.prepare(student, teacher, context_at(0.0).labels)
    method.loss(student, teacher, context_at(0.5)).backward()
    assert student.logits.grad is not None
    assert all(parameter.grad is None for parameter in method.parameters())


def test_the_zero_after_the_stop_has_a_gradient(student: Outputs, teacher: Outputs) -> None:
    student.logits.requires_grad_()
    loss = EarlyStopping(KD(), 0.5).teacher_loss(student, teacher, context_at(0.5))
    loss.backward()
    assert loss.shape == ()
    assert loss.item() == 0
    assert torch.equal(student.logits.grad, torch.zeros(7, 5))  # type: ignore[arg-type]


def test_the_labels_weigh_1_after_the_stop() -> None:
    method = EarlyStopping(Embeddings(), 0.5)
    assert [method.label_weight(context_at(progress)) for progress in (0.49, 0.5)] == [0.25, 1.0]


@pytest.mark.parametrize(("until", "stopped"), [(0.0, True), (1.0, False)])
def test_with_a_share_of_0_or_1_the_teacher_is_used_never_or_always(
    student: Outputs, teacher: Outputs, until: float, stopped: bool
) -> None:
    losses = [EarlyStopping(KD(), until).teacher_loss(student, teacher, context_at(p)) for p in (0.0, 0.999)]
    assert [float(loss) == 0 for loss in losses] == [stopped, stopped]


def test_its_needs_are_those_of_the_inner_method() -> None:
    method = EarlyStopping(Embeddings())
    assert method.needs == {"embedding"}
    assert method.n_views == 2


@pytest.mark.parametrize("until", [-0.1, 1.1, math.nan])
def test_until_must_be_a_share(until: float) -> None:
    with pytest.raises(InputError, match="`0 <= until <= 1` must hold, but got until="):
        EarlyStopping(KD(), until)
