"""What every distillation method must hold, as a pytest class: subclass it and name the class of the method.

class TestMyMethod(MethodConformance):
    method = MyMethod
"""

import inspect
import math
from collections.abc import Iterator
from itertools import product
from typing import ClassVar

import pytest
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from torch import Tensor

from autokd.distillation import Method, TeacherOutputs
from autokd.errors import InputError

__all__ = ["MethodConformance"]

CLASSES = 5


class MethodConformance:
    """The contract of `autokd.distillation.Method`.

    Attributes:
        method: The method under test.
    """

    method: ClassVar[type[Method]]

    def test_it_has_a_name(self) -> None:
        """A configuration can name it."""
        assert self.method.name
        assert self.method.name == self.method.name.lower()

    def test_the_constructor_takes_the_names_of_the_distributions(self) -> None:
        """No more and no fewer, each with a default."""
        parameters = inspect.signature(self.method).parameters
        assert set(parameters) == set(self.method.distributions())
        assert all(parameter.default is not inspect.Parameter.empty for parameter in parameters.values())

    def test_every_corner_of_the_distributions_gives_a_finite_loss_and_gradient(self) -> None:
        """What the search may choose works."""
        student, teacher, labels = _batch(6)
        for method in self._corners():
            loss, gradient = _loss_and_gradient(method, student, teacher, labels)
            assert loss.shape == ()
            assert loss.isfinite()
            assert gradient.isfinite().all()

    @pytest.mark.parametrize("scale", [0.0, 1e-4, 1e4])
    def test_extreme_logits_give_a_finite_loss_and_gradient(self, scale: float) -> None:
        """Equal logits and certain ones."""
        student, teacher, labels = _batch(6)
        for method in self._corners():
            loss, gradient = _loss_and_gradient(method, scale * student.sign(), -scale * teacher.sign(), labels)
            assert loss.isfinite()
            assert gradient.isfinite().all()

    def test_a_batch_of_one_works(self) -> None:
        """The last batch of a small data set."""
        loss, gradient = _loss_and_gradient(self.method(), *_batch(1))
        assert loss.isfinite()
        assert gradient.isfinite().all()

    def test_the_teacher_gets_no_gradient(self) -> None:
        """It is no student."""
        student, teacher, labels = _batch(6)
        student.requires_grad_()
        teacher.requires_grad_()
        self.method().loss(student, TeacherOutputs(teacher), labels).backward()  # type: ignore[no-untyped-call]
        assert teacher.grad is None

    def test_the_loss_is_a_function_of_its_arguments(self) -> None:
        """It keeps nothing, draws nothing, and leaves its arguments alone."""
        student, teacher, labels = _batch(6)
        method, before = self.method(), [part.clone() for part in (student, teacher, labels)]
        state = torch.random.get_rng_state()
        first = method.loss(student, TeacherOutputs(teacher), labels)
        method.loss(teacher, TeacherOutputs(student), labels)
        assert torch.equal(method.loss(student, TeacherOutputs(teacher), labels), first)
        assert torch.equal(torch.random.get_rng_state(), state)
        assert all(torch.equal(*pair) for pair in zip(before, (student, teacher, labels), strict=True))

    def test_the_loss_is_a_mean_over_the_batch(self) -> None:
        """A batch shown twice, or in another order, costs the same."""
        student, teacher, labels = _batch(6)
        method = self.method()
        once = method.loss(student, TeacherOutputs(teacher), labels)
        order = torch.tensor([5, 3, 0, 1, 4, 2])
        for indices in (torch.arange(6).repeat(2), order):
            again = method.loss(student[indices], TeacherOutputs(teacher[indices]), labels[indices])
            torch.testing.assert_close(again, once)

    def test_the_constructor_rejects_what_is_no_number(self) -> None:
        """NaN comes of a user's arithmetic, and would only show as a diverging loss."""
        for name, distribution in self.method.distributions().items():
            if not isinstance(distribution, CategoricalDistribution):
                with pytest.raises(InputError, match=name):
                    self.method(**{name: math.nan})

    def _corners(self) -> Iterator[Method]:
        distributions = self.method.distributions()
        for values in product(*map(_ends, distributions.values())):
            yield self.method(**dict(zip(distributions, values, strict=True)))


def _ends(distribution: BaseDistribution) -> tuple[object, ...]:
    if isinstance(distribution, CategoricalDistribution):
        return tuple(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.low, distribution.high


def _batch(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of student and teacher, and labels."""
    generator = torch.Generator().manual_seed(n)
    student, teacher = (3 * torch.randn(n, CLASSES, generator=generator) for _ in range(2))
    return student, teacher, torch.randint(0, CLASSES, (n,), generator=generator)


def _loss_and_gradient(method: Method, student: Tensor, teacher: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    student = student.clone().requires_grad_()
    loss = method.loss(student, TeacherOutputs(teacher), labels)
    (gradient,) = torch.autograd.grad(loss, student)
    return loss.detach(), gradient
