"""Contract of a distillation method, and its inputs: the networks' outputs and the batch context."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from optuna.distributions import BaseDistribution
from torch import Tensor, nn

from autokd.data.mixup import Mixture
from autokd.distillation.recruits import Recruits
from autokd.errors import InputError

__all__ = ["BatchContext", "LogitMethod", "LogitWrapper", "Method", "Mixture", "Need", "Outputs", "Wrapper"]

Need = Literal["embedding", "features"]
"""An output that a method may need of both networks in addition to their logits."""


@dataclass(frozen=True)
class Outputs:
    """Outputs of a network for a batch. Those of the teacher have no gradient.

    Attributes:
        logits: float32, `batch x classes`.
        embedding: Input of the last linear layer, float32, `batch x width`; None if not requested.
        features: Feature maps from the first layer to the last, float32, `batch x channels x` resolution; empty if not
            requested. The two networks may differ in the number, channels and resolutions of their maps.
        others: Of a teacher, what its assistants say of the same samples, from the largest to the smallest; their
            logits only. Empty unless the method learns from them.
    """

    logits: Tensor
    embedding: Tensor | None = None
    features: tuple[Tensor, ...] = ()
    others: tuple["Outputs", ...] = ()

    def first(self, n: int) -> "Outputs":
        """Outputs for the first `n` samples."""
        embedding = None if self.embedding is None else self.embedding[:n]
        features, others = tuple(maps[:n] for maps in self.features), tuple(other.first(n) for other in self.others)
        return Outputs(self.logits[:n], embedding, features, others)


@dataclass(frozen=True)
class BatchContext:
    """Labels, indices and progress of a batch: a method's inputs besides the networks' outputs.

    A method that treats the target class differently uses `labels`; with mixup that is the label of larger weight
    [ours].

    Attributes:
        labels: int64, `batch`.
        indices: Indices of the samples in the training set, int64, `batch`, in `[0, n)`.
        epoch: Epochs trained so far, a real number: 0 at the first step.
        progress: Share of the whole training done so far, in `[0, 1)`.
        mixture: Labels and weight of the other samples with mixup; None without.
        companions: Outputs of the method's companions for the samples, with gradient, in the order of
            `Method.companions`; see `Method.companion_outputs`.
    """

    labels: Tensor
    indices: Tensor
    epoch: float = 0.0
    progress: float = 0.0
    mixture: Mixture | None = None
    companions: tuple[Outputs, ...] = ()

    def cross_entropy(self, logits: Tensor) -> Tensor:
        """Cross-entropy with the labels, in nats, averaged over the batch; with mixup, weighted over both labels.

        Args:
            logits: `batch x classes`.
        """
        if self.mixture is None:
            return F.cross_entropy(logits, self.labels)
        own, other = (F.cross_entropy(logits, y, reduction="none") for y in (self.labels, self.mixture.labels))
        return torch.lerp(other, own, self.mixture.weight).mean()


class Method(nn.Module, ABC):
    """A distillation method: a loss with hyper-parameters, and with parameters and buffers of its own if it needs any.

    Every implementation must satisfy:
        * The constructor takes exactly the names of `distributions()`, each with the paper's value as default, and
          raises `InputError` if a value is invalid.
        * What the method learns are parameters, and what it remembers are buffers. `prepare` makes all of them but
          those of companions; its random draws come from torch's global generator. They are trained, saved and restored
          with the student's.
        * `loss` is averaged over the batch, is finite for finite inputs on every device, and has no gradient with
          respect to the teacher's outputs. It depends only on its arguments, the parameters and buffers, and torch's
          global generator.

    Attributes:
        needs: Outputs that both networks must have in addition to logits.
        n_views: Number of views of the batch for which outputs are needed, concatenated; see `views`.
        chooses_layers: Whether the method chooses the layers whose outputs are the features; see `layers`.
        remembers_samples: Whether the method needs the labels of all training samples and the index of each sample.
        n_companions: Number of networks that learn beside the student; see `recruit`.
        copies_teacher: Whether a companion is a copy of the teacher, which must be a module then.
        companion_rate: Factor on the learning rate of the companions, in `[0, 1]`; 0 if they do not learn.
        learns_from_panel: Whether the method needs the outputs of the teacher's assistants, `Outputs.others`.
        weighs_panel: Whether the method needs weights of teacher and assistants; see `weigh`.
    """

    name: ClassVar[str]
    needs: frozenset[Need] = frozenset()
    n_views: int = 1
    chooses_layers: bool = False
    remembers_samples: bool = False
    n_companions: int = 0
    copies_teacher: bool = False
    companion_rate: float = 1.0
    learns_from_panel: bool = False
    weighs_panel: ClassVar[bool] = False

    @staticmethod
    @abstractmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distributions of the hyper-parameters that a search may choose, with the widest sensible ranges."""

    @property
    def companions(self) -> Sequence[nn.Module]:
        """The networks that learn beside the student, once they are recruited; parts of this module."""
        return list(self.companion_rates)

    @property
    def companion_rates(self) -> Mapping[nn.Module, float]:
        """The companions, each with the factor on its learning rate."""
        return dict.fromkeys(getattr(self, "_companions", ()), self.companion_rate)

    def recruit(self, recruits: Recruits) -> None:
        """Make the `n_companions` networks that learn beside the student, before `prepare`.

        By default they are fresh networks of the student's architecture. Random draws come from torch's global
        generator. Companions run on the samples of each batch, with the channels that the teacher gets, and one
        backward pass and one optimiser serve student and companions. They take no part in what is kept of the student:
        averaged weights, the best epoch.

        Args:
            recruits: What they are made from.

        Raises:
            InputError: If the teacher is no network that can be copied, or not one that the method can do this with.
        """
        if self.n_companions:
            self._companions = nn.ModuleList(recruits.fresh(number) for number in range(self.n_companions))

    def companion_outputs(self, samples: Tensor) -> tuple[Outputs, ...]:
        """Outputs of the companions, with gradient, float32: by default their logits only.

        Args:
            samples: Samples with the channels that the teacher gets.
        """
        return tuple(Outputs(companion(samples).float()) for companion in self.companions)

    def weigh(self, weights: Mapping[str, Sequence[float]]) -> None:
        """Take the weights of teacher and assistants, before `prepare`; only methods that weigh the panel use them.

        Args:
            weights: By the rule that found them, the weights of the teacher and of each assistant, which add to 1.
        """

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Create the method's own parameters and buffers, on the outputs' device, before the first step.

        Args:
            student: The student's outputs for any batch, for their shapes.
            teacher: The teacher's outputs for the same batch.
            labels: Labels of all training samples, int64, `n`.

        Raises:
            InputError: If the method does not support these shapes.
        """

    def views(self, images: Tensor) -> Tensor:
        """Inputs of both networks: the samples, then further views of them, `n_views` in total, concatenated."""
        return images

    def layers(
        self, student: nn.Module, teacher: nn.Module, samples: Iterator[Tensor]
    ) -> tuple[Sequence[str], Sequence[str]] | None:
        """Names of the student's and of the teacher's modules whose outputs are the features.

        Called only if `chooses_layers` is set. None, the default, selects the last module of each resolution.

        Args:
            student: The student, before training.
            teacher: The teacher.
            samples: Batches of training samples in random order, as inputs of the networks; the method may use as many
                as it likes.
        """
        return None

    def label_weight(self, context: BatchContext) -> float:
        """Weight of the cross-entropy with the labels."""
        return 1.0

    @abstractmethod
    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """Loss with respect to the teacher, including its weight; a scalar.

        Args:
            student: The student's outputs.
            teacher: The teacher's outputs for the same samples; no gradient flows into them.
            context: Labels, indices and progress of the batch.
        """

    def loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """Loss that training minimises, a scalar: `label_weight CE + teacher_loss`.

        Args:
            student: The student's outputs.
            teacher: The teacher's outputs for the same samples; no gradient flows into them.
            context: Labels, indices and progress of the batch.
        """
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
        """Loss with respect to the teacher, including its weight; a scalar.

        Args:
            student: Logits of the student, `batch x classes`.
            teacher: Logits of the teacher, `batch x classes`; no gradient flows into them.
            context: Labels, indices and progress of the batch.
            temperature: `t > 0`: a number, or a scalar or `batch x 1` tensor, with respect to which the loss is
                differentiable.
        """

    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        """Loss `logit_loss` at the method's own temperature; a scalar."""
        return self.logit_loss(student.logits, teacher.logits, context, self.temperature)


class Wrapper(Method):
    """A method that modifies another one, `inner`; `ctkd+kd` is the wrapper CTKD around KD.

    The constructor takes `inner` first, then the names of `distributions()`.

    Attributes:
        inner: The wrapped method.
        inner_is_optional: Whether the wrapper is also a method of its own, if no `inner` is given.
        inner_needs: Outputs that the inner method needs. In a composed name, the wrapper wraps only such methods;
            before others it is a method of its own.
        alone_only: Hyper-parameters of the wrapper that have no effect if it wraps another method.
        overridden: Hyper-parameters of the inner method that have no effect inside the wrapper.
    """

    inner_is_optional: ClassVar[bool] = False
    inner_needs: ClassVar[frozenset[Need]] = frozenset()
    alone_only: ClassVar[frozenset[str]] = frozenset()
    overridden: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, inner: Method) -> None:
        super().__init__()
        self.inner = inner
        self.needs = inner.needs
        self.n_views = inner.n_views
        self.chooses_layers = inner.chooses_layers
        self.remembers_samples = inner.remembers_samples
        self.n_companions = inner.n_companions
        self.copies_teacher = inner.copies_teacher
        self.learns_from_panel = self.learns_from_panel or inner.learns_from_panel

    @property
    def companion_rates(self) -> Mapping[nn.Module, float]:
        """Own companions, if any, and those of the inner method."""
        return {**super().companion_rates, **self.inner.companion_rates}

    def recruit(self, recruits: Recruits) -> None:
        """Recruit those of the inner method."""
        self.inner.recruit(recruits)

    def companion_outputs(self, samples: Tensor) -> tuple[Outputs, ...]:
        """Outputs of the inner method's companions."""
        return self.inner.companion_outputs(samples)

    def weigh(self, weights: Mapping[str, Sequence[float]]) -> None:
        """Tell the inner method."""
        self.inner.weigh(weights)

    def views(self, images: Tensor) -> Tensor:
        """Views of the inner method."""
        return self.inner.views(images)

    def layers(
        self, student: nn.Module, teacher: nn.Module, samples: Iterator[Tensor]
    ) -> tuple[Sequence[str], Sequence[str]] | None:
        """Layers chosen by the inner method."""
        return self.inner.layers(student, teacher, samples)

    def prepare(self, student: Outputs, teacher: Outputs, labels: Tensor) -> None:
        """Prepare the inner method."""
        self.inner.prepare(student, teacher, labels)

    def label_weight(self, context: BatchContext) -> float:
        """Weight of the inner method."""
        return self.inner.label_weight(context)


class LogitWrapper(Wrapper, LogitMethod):
    """A wrapper around a method that compares logits. As it compares logits itself, it can be wrapped in turn.

    Raises:
        InputError: If `inner` is not a `LogitMethod`.
    """

    inner: LogitMethod

    def __init__(self, inner: Method) -> None:
        if not isinstance(inner, LogitMethod):
            way_out = f": write `{inner.name}+{self.name}+...`" if inner.learns_from_panel else ""
            raise InputError(
                f"distillation method {self.name!r} wraps one that compares logits, but {inner.name!r} does "
                f"not{way_out}."
            )
        super().__init__(inner)
        self.temperature = inner.temperature
