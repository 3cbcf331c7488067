from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autokd.distillation import DML, KD, BatchContext, Combined, Method, Outputs, Recruits
from autokd.distillation.base import Need
from autokd.errors import InputError

CONTEXT = BatchContext(torch.arange(6) % 3, torch.arange(6))


class Fake(Method):
    """Method whose loss is `weight` times the sum of the student's logits, and which records its inputs."""

    def __init__(
        self, weight: float = 1.0, needs: frozenset[Need] = frozenset(), n_views: int = 1, layers: str = "", name="fake"
    ) -> None:
        super().__init__()
        self.name, self.needs, self.n_views = name, needs, n_views  # type: ignore[misc]
        self.weight, self.choice, self.chooses_layers = weight, layers, bool(layers)
        self.seen: list[int] = []

    @staticmethod
    def distributions():
        return {}

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        self.own = nn.Parameter(torch.ones(len(student.logits), len(labels)))

    def views(self, images: Tensor) -> Tensor:
        return torch.cat([images] * self.n_views)

    def layers(self, student: nn.Module, teacher: nn.Module, samples: Iterator[Tensor]):
        return ([self.choice], [self.choice]) if self.choice else None

    def label_weight(self, context: BatchContext) -> float:
        return 10 * self.weight

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        self.seen += [len(student.logits), len(teacher.logits)]
        return self.weight * student.logits.sum()


@pytest.fixture
def student() -> Outputs:
    return Outputs(torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))


@pytest.fixture
def teacher() -> Outputs:
    return Outputs(torch.randn(6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))


def test_the_teachers_terms_are_added(student: Outputs, teacher: Outputs) -> None:
    found = Combined([Fake(2.0), KD(), Fake(3.0)]).teacher_loss(student, teacher, CONTEXT)
    torch.testing.assert_close(found, 5 * student.logits.sum() + KD().teacher_loss(student, teacher, CONTEXT))


def test_the_weight_of_the_labels_is_that_of_the_first_method(student: Outputs, teacher: Outputs) -> None:
    found = Combined([KD(weight=0.75), Fake(2.0)]).loss(student, teacher, CONTEXT)
    terms = KD(weight=0.75).teacher_loss(student, teacher, CONTEXT) + 2 * student.logits.sum()
    torch.testing.assert_close(found, 0.25 * F.cross_entropy(student.logits, CONTEXT.labels) + terms)


def test_a_sum_of_one_is_that_method(student: Outputs, teacher: Outputs) -> None:
    assert Combined([KD()]).loss(student, teacher, CONTEXT) == KD().loss(student, teacher, CONTEXT)


def test_its_needs_are_those_of_all_members() -> None:
    members = [Fake(needs=frozenset({"embedding"})), KD(), Fake(needs=frozenset({"features"}))]
    assert Combined(members).needs == {"embedding", "features"}
    assert Combined([KD()]).needs == frozenset()


def test_all_members_are_prepared_and_trained(student: Outputs, teacher: Outputs) -> None:
    method = Combined([Fake(), KD(), Fake()])
    method.prepare(student, teacher, torch.zeros(9))
    assert [parameter.shape for parameter in method.parameters()] == [(6, 9), (6, 9)]
    assert len(method.state_dict()) == 2


def test_only_the_member_with_further_views_gets_them(teacher: Outputs) -> None:
    views = Outputs(torch.randn(18, 3))
    one, three = Fake(), Fake(n_views=3)
    method = Combined([one, three])
    method.prepare(views, views, torch.zeros(9))
    loss = method.loss(views, views, CONTEXT)
    assert loss.isfinite()
    assert (one.seen, three.seen) == ([6, 6], [18, 18])
    assert (len(one.own), len(three.own)) == (6, 18)


def test_the_views_are_those_of_the_member_that_uses_several() -> None:
    method = Combined([Fake(), Fake(n_views=3)])
    assert method.n_views == 3
    assert len(method.views(torch.zeros(6, 1))) == 18


def test_the_layers_are_those_of_the_member_that_chooses() -> None:
    module = nn.Identity()
    assert Combined([Fake(), Fake(layers="stem")]).layers(module, module, iter([])) == (["stem"], ["stem"])
    assert Combined([Fake(), KD()]).layers(module, module, iter([])) is None


def test_each_member_has_companions_of_its_own(student: Outputs, teacher: Outputs) -> None:
    first, last = DML(peers=2), DML()
    both = Combined([first, KD(), last])
    numbers: list[int] = []
    both.recruit(Recruits(lambda number: numbers.append(number) or nn.Identity(), nn.Identity, torch.zeros(2, 3)))
    assert (numbers, both.n_companions) == ([0, 1, 2], 3)
    assert both.companions == [*first.companions, *last.companions]
    outputs = tuple(Outputs(student.logits.roll(shift, 1)) for shift in range(3))
    seen = replace(CONTEXT, companions=outputs)
    parts = [
        first.teacher_loss(student, teacher, replace(CONTEXT, companions=outputs[:2])),
        KD().teacher_loss(student, teacher, CONTEXT),
        last.teacher_loss(student, teacher, replace(CONTEXT, companions=outputs[2:])),
    ]
    torch.testing.assert_close(both.teacher_loss(student, teacher, seen), sum(parts))


def test_two_members_with_further_views_are_rejected() -> None:
    with pytest.raises(InputError, match="may use further views of the samples, but 'a' and 'b' do"):
        Combined([Fake(n_views=2, name="a"), KD(), Fake(n_views=3, name="b")])


def test_two_members_that_choose_layers_are_rejected() -> None:
    with pytest.raises(InputError, match="may choose the layers, but 'a' and 'b' do"):
        Combined([Fake(layers="stem", name="a"), KD(), Fake(layers="head", name="b")])


def test_a_sum_of_none_is_rejected() -> None:
    with pytest.raises(InputError, match="needs at least one"):
        Combined([])
