import torch
from torch import Tensor

from autokd.distillation import CTKD, KD, TAKD, BatchContext, Outputs


def test_the_smallest_assistant_teaches(student: Tensor, panel: Outputs, context: BatchContext) -> None:
    found = TAKD(KD(3.0, 0.4)).loss(Outputs(student), panel, context)
    assert torch.equal(found, KD(3.0, 0.4).loss(Outputs(student), panel.others[-1], context))


def test_the_inner_method_may_be_a_wrapper(
    student: Tensor, panel: Outputs, labels: Tensor, context: BatchContext
) -> None:
    alone, wrapped = CTKD(KD()), TAKD(CTKD(KD()))
    alone.prepare(Outputs(student), panel, labels)
    wrapped.prepare(Outputs(student), panel, labels)
    found = wrapped.loss(Outputs(student), panel, context)
    assert torch.equal(found, alone.loss(Outputs(student), panel.others[-1], context))
