import math

import pytest
import torch

from autokd.distillation import AT, DIST, KD, BatchContext, ClusteredHints, EarlyStopping, InTurn, Modality, Outputs
from autokd.distillation.methods.multi_step import MultiStep
from autokd.errors import InputError


@pytest.fixture
def outputs() -> tuple[Outputs, Outputs]:
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(6, width, generator=generator) for width in (3, 3, 4, 5)]
    return Outputs(drawn[0].requires_grad_(), drawn[2]), Outputs(drawn[1], drawn[3])


def at(progress: float) -> BatchContext:
    return BatchContext(torch.arange(6) % 3, torch.arange(6), progress=progress)


@pytest.mark.parametrize(("progress", "is_first"), [(0.0, True), (0.29, True), (0.3, False), (0.99, False)])
def test_the_first_method_teaches_up_to_the_switch_and_the_last_one_from_there_on(
    outputs: tuple[Outputs, Outputs], progress: float, is_first: bool
) -> None:
    first, last = KD(2.0, 0.75), DIST(2.0)
    found = InTurn(first, last, switch=0.3).loss(*outputs, at(progress))
    assert found == (first if is_first else last).loss(*outputs, at(progress))


@pytest.mark.parametrize("switch", [0.0, 1.0])
def test_at_an_end_the_switch_leaves_one_method(outputs: tuple[Outputs, Outputs], switch: float) -> None:
    method, kept = InTurn(KD(), DIST(), switch), (DIST(), KD())[int(switch)]
    for progress in (0.0, 0.5, 0.99):
        assert method.loss(*outputs, at(progress)) == kept.loss(*outputs, at(progress))


def test_schedules_within_the_methods_count_from_the_beginning(outputs: tuple[Outputs, Outputs]) -> None:
    stopped = EarlyStopping(KD(), until=0.75)
    method = InTurn(DIST(), stopped, switch=0.5)
    for progress in (0.6, 0.8):
        assert method.loss(*outputs, at(progress)) == stopped.loss(*outputs, at(progress))


def test_the_last_methods_parameters_learn_only_from_the_switch_on(outputs: tuple[Outputs, Outputs]) -> None:
    method = InTurn(KD(), MultiStep(), switch=0.5)
    method.prepare(*outputs, torch.zeros(9))
    (weight,) = method.parameters()
    for progress, is_learning in ((0.4, False), (0.5, True)):
        (gradient,) = torch.autograd.grad(method.loss(*outputs, at(progress)), weight, allow_unused=True)
        assert (gradient is not None and bool(gradient.any())) == is_learning
    assert len(method.state_dict()) == 1


def test_it_needs_what_both_methods_need() -> None:
    assert InTurn(AT(), MultiStep()).needs == {"features", "embedding"}
    assert InTurn(Modality(), KD()).n_views == 3
    assert InTurn(KD(), ClusteredHints()).chooses_layers


def test_a_method_without_further_views_gets_the_samples_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (Outputs(torch.randn(18, 3, generator=generator), torch.randn(18, 4)) for _ in range(2))
    method = InTurn(KD(), Modality())
    assert method.loss(student, teacher, at(0.1)) == KD().loss(student.first(6), teacher.first(6), at(0.1))


def test_two_methods_with_further_views_are_rejected() -> None:
    with pytest.raises(InputError, match="may use further views of the samples, but 'modality' and 'modality' do"):
        InTurn(Modality(), Modality())


@pytest.mark.parametrize("switch", [-0.1, 1.1, math.nan])
def test_a_switch_outside_of_the_training_is_rejected(switch: float) -> None:
    with pytest.raises(InputError, match="`0 <= switch <= 1` must hold, but got switch="):
        InTurn(KD(), DIST(), switch)
