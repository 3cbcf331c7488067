"""The contract of a distillation method, and what flows into it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from optuna.distributions import BaseDistribution
from torch import Tensor, nn

from autokd.data.mixup import Mixture
from autokd.errors import InputError

__all__ = ["BatchContext", "LogitMethod", "LogitWrapper", "Method", "Mixture", "Need", "Outputs", "Wrapper"]

Need = Literal["embedding", "features"]
"""What a method may ask of both networks beside their logits."""


@dataclass(frozen=True)
class Outputs:
    """What a network says of a batch. The teacher's carry no gradient.

    Attributes:
        logits: float32, `batch x classes`.
        embedding: float32, `batch x width`: what enters the last linear layer; None where it was not asked for.
        features: float32 maps, `batch x channels x` the resolution, from the first layer to the last; none where they
            were not asked for. The two networks may have different numbers, channels and resolutions of them.
    """

    logits: Tensor
    embedding: Tensor | None = None
    features: tuple[Tensor, ...] = ()

    def first(self, n: int) -> "Outputs":
        """Those of the first `n` samples."""
        embedding = None if self.embedding is None else self.embedding[:n]
        return Outputs(self.logits[:n], embedding, tuple(maps[:n] for maps in self.features))


@dataclass(frozen=True)
class BatchContext:
    """What is known of a batch beside what the networks say of it.

    A method that singles out one class of a sample takes its label, which has most of the weight where samples are
    mixed [ours].

    Attributes:
        labels: int64, `batch`.
        indices: int64, `batch`: which training samples these are, in `[0, n)`.
        epoch: Epochs of training done, as a real number: 0 at the first step.
        progress: Part of the whole training that is done, in `[0, 1)`.
        mixture: What the samples are mixed with, where they are.
    """

    labels: Tensor
    indices: Tensor
    epoch: float = 0.0
    progress: float = 0.0
    mixture: Mixture | None = None

    def cross_entropy(self, logits: Tensor) -> Tensor:
        """With the labels, in nats, the mean over the batch; with both labels by their weights where there are two.

        Args:
            logits: `batch x classes`.
        """
        if self.mixture is None:
            return F.cross_entropy(logits, self.labels)
        own, other = (F.cross_entropy(logits, y, reduction="none") for y in (self.labels, self.mixture.labels))
        return torch.lerp(other, own, self.mixture.weight).mean()


class Method(nn.Module, ABC):
    """A way to learn from a teacher: a loss with its hyper-parameters, and with parameters and memories of its own.

    Every implementation must hold:
        * The constructor takes exactly the names of `distributions()`, each with the paper's value as default, and
          rejects what makes no sense with an `InputError`.
        * What it learns are parameters, what it remembers are buffers, all made by `prepare`, whose random draws come
          from torch's global generator. They are trained with the student's, and saved and resumed with them.
        * `loss` is the mean over the batch, finite for finite inputs on every device, and sends no gradient into the
          teacher's outputs. It depends on its arguments, the parameters and buffers, and torch's global generator only.

    Attributes:
        needs: What both networks must give beside logits.
        n_views: Of how many views of the batch the networks' outputs are, one after another; see `views`.
        chooses_layers: Whether it says itself which layers' outputs the features are; see `layers`.
    """

    name: ClassVar[str]
    needs: frozenset[Need] = frozenset()
    n_views: int = 1
    chooses_layers: bool = False

    @staticmethod
    @abstractmethod
    def distributions() -> dict[str, BaseDistribution]:
        """The hyper-parameters a search may choose, with their widest sensible ranges."""

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Make the method's own parameters and buffers, on the outputs' device, before the first step.

        Args:
            student: The student's outputs for some batch, to see their shapes.
            teacher: The teacher's for the same batch.
            labels: int64, `n`: of all training samples.

        Raises:
            InputError: If the method cannot work with such shapes.
        """

    def views(self, images: Tensor) -> Tensor:
        """What both networks see: the samples, `batch x` their shape, then further views of them, `n_views` in all."""
        return images

    def layers(
        self, student: nn.Module, teacher: nn.Module, samples: Iterator[Tensor]
    ) -> tuple[Sequence[str], Sequence[str]] | None:
        """Names of the modules in student and teacher whose outputs are the features.

        Asked only where `chooses_layers`. None, the default, means the last one of each resolution.

        Args:
            student: The student, before training.
            teacher: The teacher.
            samples: Batches of training samples in random order, as the networks take them; as many as the method cares
                to look at.
        """
        return None

    def label_weight(self, context: BatchContext) -> float:
        """Weight of the cross-entropy with the labels."""
        return 1.0

    @abstractmethod
    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """What is learnt from the teacher, its weight included; a scalar."""

    def loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """What training minimises, a scalar: `label_weight CE + teacher_loss`."""
        loss = self.teacher_loss(student, teacher, context)
        return loss + self.label_weight(context) * context.cross_entropy(student.logits[: len(context.labels)])


class LogitMethod(Method):
    """A method that compares logits at a temperature.

    Attributes:
        temperature: `t > 0`.
    """

    temperature: float

    @abstractmethod
    def logit_loss(
        self, student: Tensor, teacher: Tensor, context: BatchContext, temperature: float | Tensor
    ) -> Tensor:
        """What is learnt from the teacher, its weight included; a scalar.

        Args:
            student: Logits, `batch x classes`.
            teacher: Logits, `batch x classes`; no gradient flows into them.
            context: The batch.
            temperature: `t > 0`, a number or a scalar or `batch x 1` tensor, into which gradient flows.
        """

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """`logit_loss` at the method's own temperature."""
        return self.logit_loss(student.logits, teacher.logits, context, self.temperature)


class Wrapper(Method):
    """A method that changes how another one, `inner`, is used; `ctkd+kd` is one around KD.

    The constructor takes `inner` first, then the names of `distributions()`.

    Attributes:
        inner: What it wraps.
        inner_is_optional: Whether it is a method of its own where no `inner` is given.
        alone_only: Its own hyper-parameters that have no effect around another method.
        overridden: The inner method's hyper-parameters that have no effect inside this one.
    """

    inner_is_optional: ClassVar[bool] = False
    alone_only: ClassVar[frozenset[str]] = frozenset()
    overridden: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, inner: Method) -> None:
        super().__init__()
        self.inner = inner
        self.needs = inner.needs
        self.n_views = inner.n_views
        self.chooses_layers = inner.chooses_layers

    def views(self, images: Tensor) -> Tensor:
        """The inner method's."""
        return self.inner.views(images)

    def layers(
        self, student: nn.Module, teacher: nn.Module, samples: Iterator[Tensor]
    ) -> tuple[Sequence[str], Sequence[str]] | None:
        """The inner method's."""
        return self.inner.layers(student, teacher, samples)

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Prepare the inner method."""
        self.inner.prepare(student, teacher, labels)

    def label_weight(self, context: BatchContext) -> float:
        """The inner method's."""
        return self.inner.label_weight(context)


class LogitWrapper(Wrapper, LogitMethod):
    """A wrapper around a method that compares logits; it does so itself, so that another can wrap it.

    Raises:
        InputError: If `inner` does not compare logits.
    """

    inner: LogitMethod

    def __init__(self, inner: Method) -> None:
        if not isinstance(inner, LogitMethod):
            raise InputError(
                f"distillation method {self.name!r} wraps one that compares logits, but {inner.name!r} does not."
            )
        super().__init__(inner)
        self.temperature = inner.temperature
