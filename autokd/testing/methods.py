"""Conformance suite of distillation methods: subclass `MethodConformance` and set the class of the method.

class TestMyMethod(MethodConformance):
    method = MyMethod
"""

import copy
import inspect
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any, ClassVar

import pytest
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from torch import Tensor, nn
from torch.optim import SGD

from autokd.distillation import KD, BatchContext, FitNet, Method, Outputs, Recruits, Wrapper
from autokd.errors import InputError

__all__ = ["MethodConformance"]

CLASSES = 5
SAMPLES = 40
LABELS = torch.arange(SAMPLES) % CLASSES
KINDS = {"images": 2, "signals": 1, "vectors": 0}  # number of spatial axes
MOST_COMPANIONS = 8
N_ASSISTANTS = 2
MOMENTS = ((0.0, 0.0), (7.5, 0.5), (14.75, 0.99))  # epoch and progress


class MethodConformance:
    """Tests of the guarantees of `autokd.distillation.Method`.

    Attributes:
        method: The method under test; a wrapper is tested around KD, or FitNet if the inner method must need features.
        kinds: Kinds of samples that the method supports.
    """

    method: ClassVar[type[Method]]
    kinds: ClassVar[tuple[str, ...]] = ("images", "signals", "vectors")

    def make(self, **settings: Any) -> Method:
        """The method with these hyper-parameters."""
        if not issubclass(self.method, Wrapper):
            return self.method(**settings)
        return self.method(FitNet() if "features" in self.method.inner_needs else KD(), **settings)

    def prepared(self, outputs: "tuple[Outputs, Outputs, BatchContext]", **settings: Any) -> Method:
        """The method after `prepare`, always with the same initial parameters."""
        method = self.make(**settings)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            method.prepare(*outputs[:2], LABELS)
        return method

    def batch(self, n: int, kind: str = "images") -> "tuple[Outputs, Outputs, BatchContext]":
        """Outputs of a student and a teacher for `n` samples."""
        return _batch(n, self.make().n_views, KINDS[kind])

    def loss(self, method: Method, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """Loss of the method, which sees as many companions as it has.

        Args:
            method: The method.
            student: Outputs of the student.
            teacher: Outputs of the teacher.
            context: With more companions than any method has.
        """
        return method.loss(student, teacher, replace(context, companions=context.companions[: method.n_companions]))

    def test_it_has_a_name(self) -> None:
        """A configuration can refer to the method."""
        assert self.method.name
        assert self.method.name == self.method.name.lower()
        assert "+" not in self.method.name

    def test_the_constructor_takes_the_names_of_the_distributions(self) -> None:
        """It takes exactly these arguments, each with a default."""
        parameters = dict(inspect.signature(self.method).parameters)
        if issubclass(self.method, Wrapper):
            assert next(iter(parameters)) == "inner"
            del parameters["inner"]
        assert set(parameters) == set(self.method.distributions())
        assert all(parameter.default is not inspect.Parameter.empty for parameter in parameters.values())

    def test_it_says_whether_it_chooses_layers(self) -> None:
        """`chooses_layers` is true if and only if `layers` is overridden; wrappers follow their inner method."""
        if not issubclass(self.method, Wrapper):
            assert self.method.chooses_layers == (self.method.layers is not Method.layers)

    def test_every_corner_of_the_distributions_gives_a_finite_loss_and_gradient(self) -> None:
        """All settings at the ends of the distributions work."""
        for settings in self._corners():
            self._check_finite(self.batch(6), settings)

    def test_every_kind_of_samples_works(self) -> None:
        """Images, signals and vectors work, as far as the method supports them."""
        for kind in self.kinds:
            self._check_finite(self.batch(6, kind), {})

    def test_every_moment_of_training_works(self) -> None:
        """Schedules are finite from the first to the last step."""
        for epoch, progress in MOMENTS:
            student, teacher, context = self.batch(6)
            self._check_finite((student, teacher, replace(context, epoch=epoch, progress=progress)), {})

    @pytest.mark.parametrize("scale", [0.0, 1e-4, 1e4])
    def test_extreme_outputs_give_a_finite_loss_and_gradient(self, scale: float) -> None:
        """Constant outputs and outputs of very large magnitude work."""
        student, teacher, context = self.batch(6)
        outputs = _scaled(student, scale), _scaled(teacher, -scale), context
        for settings in self._corners():
            self._check_finite(outputs, settings)

    def test_outputs_of_bfloat16_give_a_finite_loss_and_gradient(self) -> None:
        """Under autocast, features are in bfloat16 and logits in float32."""
        student, teacher, context = self.batch(6)
        self._check_finite((_halved(student), _halved(teacher), context), {})

    def test_a_batch_of_one_works(self) -> None:
        """The last batch of an epoch may have one sample."""
        self._check_finite(self.batch(1), {})

    def test_the_teacher_gets_no_gradient(self) -> None:
        """Only the student and the method learn."""
        student, teacher, context = self.batch(6)
        method = self.prepared((student, teacher, context))
        leaves = _leaves(teacher)
        for leaf in (*leaves, *_leaves(student)):
            leaf.requires_grad_()
        self.loss(method, student, teacher, context).backward()  # type: ignore[no-untyped-call]
        assert all(leaf.grad is None for leaf in leaves)

    def test_it_recruits_its_companions_and_each_of_them_learns(self) -> None:
        """They are parts of the method, fresh ones by numbers of their own, and the loss has a gradient for each."""
        student, teacher, context = self.batch(6)
        method, numbers, samples = self.make(), list[int](), torch.zeros(2, 1, 8, 8)
        method.recruit(Recruits(lambda number: numbers.append(number) or _network(), _network, samples))  # type: ignore[func-returns-value]
        assert len(set(method.companions)) == method.n_companions
        assert len(set(numbers)) == len(numbers)
        assert set(method.companions) <= set(method.modules())
        assert list(method.companion_rates) == list(method.companions)
        assert all(outputs.logits.shape == (2, CLASSES) for outputs in method.companion_outputs(samples))
        method.prepare(student, teacher, LABELS)
        outputs = [_requiring_gradient(each) for each in context.companions[: method.n_companions]]
        loss = self.loss(method, _requiring_gradient(student), teacher, replace(context, companions=tuple(outputs)))
        loss.backward()  # type: ignore[no-untyped-call]
        assert all(each.logits.grad is not None and each.logits.grad.any() for each in outputs)

    def test_it_is_deterministic(self) -> None:
        """Equal outputs, states and global random states give equal losses, and the outputs are not changed."""
        outputs = self.batch(6)
        method, before = self.prepared(outputs), copy.deepcopy(outputs)
        first = self._train(copy.deepcopy(method), outputs, 3)
        assert self._train(method, outputs, 3) == first
        for found, kept in zip(outputs[:2], before[:2], strict=True):
            assert all(torch.equal(*pair) for pair in zip(_leaves(found), _leaves(kept), strict=True))

    def test_preparing_draws_from_the_global_generator_alone(self) -> None:
        """Equal seeds give equal parameters."""
        outputs = self.batch(6)
        states = [self.prepared(outputs).state_dict() for _ in range(2)]
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])

    def test_training_goes_on_from_a_saved_state_bit_for_bit(self) -> None:
        """All that the method learns and stores is in its state dict."""
        outputs = self.batch(6)
        method, resumed = self.prepared(outputs), self.prepared(outputs)
        self._train(method, outputs, 2)
        resumed.load_state_dict(method.state_dict())
        assert self._train(resumed, outputs, 2) == self._train(method, outputs, 2)

    def test_the_constructor_rejects_what_is_no_number(self) -> None:
        """NaN, which would only be noticed as a diverging loss, is an `InputError`."""
        for name, distribution in self.method.distributions().items():
            if not isinstance(distribution, CategoricalDistribution):
                with pytest.raises(InputError, match=name):
                    self.make(**{name: math.nan})

    def _train(self, method: Method, outputs: tuple[Outputs, Outputs, BatchContext], steps: int) -> list[float]:
        """Losses of some training steps of the method's own parameters."""
        parameters = list(method.parameters())
        optimiser = SGD(parameters, 0.01) if parameters else None
        losses = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            for _ in range(steps):
                student = _requiring_gradient(outputs[0])
                loss = self.loss(method, student, *outputs[1:])
                method.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                if optimiser:
                    optimiser.step()
                losses.append(loss.item())
        return losses

    def _check_finite(self, outputs: tuple[Outputs, Outputs, BatchContext], settings: dict[str, Any]) -> None:
        method = self.prepared(outputs, **settings)
        student = _requiring_gradient(outputs[0])
        loss = self.loss(method, student, *outputs[1:])
        assert loss.shape == ()
        assert loss.isfinite()
        loss.backward()  # type: ignore[no-untyped-call]
        learning = [*_leaves(student), *method.parameters()]
        gradients = [tensor.grad for tensor in learning if tensor.grad is not None]
        assert gradients
        assert all(gradient.isfinite().all() for gradient in gradients)

    def _corners(self) -> Iterator[dict[str, Any]]:
        distributions = self.method.distributions()
        for values in product(*map(_ends, distributions.values())):
            yield dict(zip(distributions, values, strict=True))


def _network() -> nn.Module:
    """Network for images of one channel, with two resolutions."""
    first, second = (nn.Conv2d(channels, 4, 3, 2, padding=1) for channels in (1, 4))
    return nn.Sequential(first, nn.BatchNorm2d(4), nn.ReLU(), second, nn.Flatten(), nn.Linear(16, CLASSES)).eval()


def _ends(distribution: BaseDistribution) -> tuple[object, ...]:
    if isinstance(distribution, CategoricalDistribution):
        return tuple(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.low, distribution.high


def _batch(n: int, n_views: int, axes: int) -> tuple[Outputs, Outputs, BatchContext]:
    """Outputs of two networks of different widths; the teacher has one more and larger maps, and assistants."""
    generator = torch.Generator().manual_seed(n)
    rows = n * n_views

    def drawn(*shape: int) -> Tensor:
        return 3 * torch.randn(rows, *shape, generator=generator)

    sizes, teacher_sizes = ((6, 3), (12, 6, 3)) if axes else ((1,), (1,))
    student = Outputs(drawn(CLASSES), drawn(8), tuple(drawn(4 + size, *[size] * axes) for size in sizes))
    teacher = Outputs(drawn(CLASSES), drawn(10), tuple(drawn(5 + size, *[size] * axes) for size in teacher_sizes))
    indices = torch.randperm(SAMPLES, generator=generator)[:n]
    companions = tuple(
        Outputs(drawn(CLASSES)[:n], features=tuple(maps.roll(1)[:n] for maps in teacher.features))
        for _ in range(MOST_COMPANIONS)
    )
    teacher = replace(teacher, others=tuple(Outputs(drawn(CLASSES)[:n]) for _ in range(N_ASSISTANTS)))
    return student, teacher, BatchContext(LABELS[indices], indices, epoch=2.5, progress=0.25, companions=companions)


def _leaves(outputs: Outputs) -> list[Tensor]:
    embedding = [] if outputs.embedding is None else [outputs.embedding]
    others = [leaf for other in outputs.others for leaf in _leaves(other)]
    return [outputs.logits, *embedding, *outputs.features, *others]


def _mapped(outputs: Outputs, change: Any, logits: bool = True) -> Outputs:
    embedding = None if outputs.embedding is None else change(outputs.embedding)
    changed = change(outputs.logits) if logits else outputs.logits
    others = tuple(_mapped(other, change, logits) for other in outputs.others)
    return Outputs(changed, embedding, tuple(map(change, outputs.features)), others)


def _scaled(outputs: Outputs, scale: float) -> Outputs:
    return _mapped(outputs, lambda tensor: scale * tensor.sign())


def _halved(outputs: Outputs) -> Outputs:
    return _mapped(outputs, lambda tensor: tensor.bfloat16(), logits=False)


def _requiring_gradient(outputs: Outputs) -> Outputs:
    return _mapped(outputs, lambda tensor: tensor.detach().clone().requires_grad_())
