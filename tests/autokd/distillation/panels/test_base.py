from dataclasses import replace

import pytest
import torch
from torch import Tensor

from autokd.distillation import CRLD, KD, TAKD, BatchContext, Combined, Outputs, make_method
from autokd.errors import InputError

PANELS = ("takd", "dgkd", "ces", "ensemble")


@pytest.mark.parametrize("name", PANELS)
def test_the_labels_weigh_what_they_do_in_the_inner_method(name: str, context: BatchContext) -> None:
    assert make_method(f"{name}+kd", {"kd.weight": 0.4}).label_weight(context) == pytest.approx(0.6)


@pytest.mark.parametrize("name", PANELS)
def test_the_gradient_is_that_of_finite_differences(
    name: str, student: Tensor, panel: Outputs, context: BatchContext
) -> None:
    method = make_method(f"{name}+kd", {"dgkd.drop": 0} if name == "dgkd" else {})
    method.prepare(Outputs(student), panel, context.labels)
    late = replace(context, progress=0.9)
    assert torch.autograd.gradcheck(lambda z: method.loss(Outputs(z), panel, late), student.requires_grad_())


@pytest.mark.parametrize("name", PANELS)
def test_without_assistants_it_cannot_be_prepared(name: str, student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    with pytest.raises(InputError, match=f"'{name}' learns from assistants, too, but there are none"):
        make_method(f"{name}+kd").prepare(Outputs(student), Outputs(teacher), labels)


def test_it_wraps_what_compares_logits_alone() -> None:
    with pytest.raises(InputError, match=r"but 'at' does not: write `takd\+kd`, or `takd\+kd\+at`"):
        make_method("takd+at")
    assert make_method("takd+kd+at").needs == {"features"}


def test_what_is_advised_is_possible() -> None:
    with pytest.raises(InputError, match=r"but 'early-stopping' does not: write `early-stopping\+takd\+\.\.\.`"):
        make_method("takd+early-stopping+kd")
    with pytest.raises(InputError, match=r"but 'takd' does not: choose one of the two"):
        make_method("ces+takd+kd")
    for name in ("early-stopping+takd+kd", "takd+kd+clustered-hints", "takd+kd+sokd"):
        make_method(name)


def test_it_stands_before_wrappers_of_logits() -> None:
    method = make_method("early-stopping+ces+ctkd+kd")
    assert method.learns_from_panel
    with pytest.raises(
        InputError, match=r"'ctkd' wraps one that compares logits, but 'ces' does not: write `ces\+ctkd"
    ):
        make_method("ctkd+ces+kd")


def test_joined_methods_learn_from_the_panel_if_one_of_them_does() -> None:
    assert make_method("takd+kd+at").learns_from_panel
    assert make_method("dist>dgkd+kd").learns_from_panel
    assert not make_method("ctkd+kd+at").learns_from_panel


def test_in_a_sum_with_a_method_of_several_views_assistants_say_of_the_samples(
    student: Tensor, panel: Outputs, context: BatchContext
) -> None:
    views = Outputs(torch.cat([panel.logits, panel.logits.flip(0)]), others=panel.others)
    both = Outputs(student.repeat(2, 1))
    found = Combined([TAKD(KD()), CRLD()]).teacher_loss(both, views, context)
    alone = KD().teacher_loss(Outputs(student), panel.others[-1], context)
    torch.testing.assert_close(found - CRLD().teacher_loss(both, views, context), alone)
