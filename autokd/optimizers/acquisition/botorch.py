"""BoTorch's models and acquisition functions in place of ours (https://botorch.org), all else of a proposal as it is.

The model is a `SingleTaskGP` with GPyTorch's kernel of a given name, in double precision. Points are scored one at a
time, beside the pending ones, by the logarithm of the noisy expected improvement (Ament et al. 2023,
https://arxiv.org/abs/2310.20708), with several objectives by that of the noisy expected hypervolume improvement
(Daulton et al. 2021, https://arxiv.org/abs/2105.08195). Measured constraints have a model each. A category is one-hot,
at the distance 1 from every other; a trial's step and the features of points are further coordinates, as in
`models.surrogate`. Earlier studies suggest start-up points, but are not in the model.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gpytorch
import torch
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.acquisition.multi_objective import logei
from botorch.acquisition.multi_objective.objective import IdentityMCMultiOutputObjective
from botorch.acquisition.objective import GenericMCObjective
from botorch.exceptions.warnings import BotorchWarning
from botorch.fit import fit_gpytorch_mll
from botorch.models import ModelListGP, SingleTaskGP
from botorch.models.transforms import Standardize
from botorch.sampling import SobolQMCNormalSampler
from gpytorch.utils.warnings import GPInputWarning
from linear_operator.utils.warnings import NumericalWarning
from torch import Tensor

from autokd.optimizers.acquisition.functions import (
    AcquisitionFunction,
    constrained_observations,
    feasible_first,
    feasible_volumes,
    front_reference,
    observations,
    pending_points,
)
from autokd.optimizers.arrays import Array
from autokd.optimizers.errors import OptimizerError
from autokd.optimizers.history import History
from autokd.optimizers.models.prior_mean import NO_MEMORY, Memory
from autokd.optimizers.space.features import NO_FEATURES, Description, Features

__all__ = ["KERNELS", "BoTorch"]

KERNELS = ("MaternKernel", "PeriodicKernel", "PiecewisePolynomialKernel", "RBFKernel", "RQKernel")
"""The kernels of `gpytorch.kernels` that have a length scale for each coordinate and need no other argument."""

# Else the first use in a process would compile a kernel for this very processor, and keep it for whichever comes next.
logei._load_attempted = True

_N_SAMPLES = 128  # of the outcomes, BoTorch's own number
_CHUNK = 512  # points scored at once, so that memory stays small


@dataclass(frozen=True)
class BoTorch:
    """Makes acquisition functions of BoTorch, see `acquisition.functions.acquisition_function`.

    Args:
        kernel: One of `KERNELS`; BoTorch's default if None.

    Raises:
        OptimizerError: If it is another one.
    """

    kernel: str | None = None

    def __post_init__(self) -> None:
        if self.kernel is not None and self.kernel not in KERNELS:
            raise OptimizerError(f"`kernel` must be one of {', '.join(KERNELS)}, but got {self.kernel!r}.")

    def __call__(
        self,
        history: History,
        categories: Sequence[int],
        number: int,
        repeats: bool,
        reference: Sequence[float] | None,
        description: Description = NO_FEATURES,
        memory: Memory = NO_MEMORY,
    ) -> AcquisitionFunction:
        """Acquisition function for trial `number`."""
        X, Y = observations(history, categories)
        inputs = _Inputs.of(X, categories, history.has_steps, description)
        constraints = [(inputs(points), excesses) for points, excesses in constrained_observations(history, categories)]
        observed = [(inputs(X), Y[:, j]) for j in range(Y.shape[1])]
        point = front_reference(history, reference) if len(observed) > 1 else None
        with _as_ever(number):
            model = ModelListGP(*(_fitted(*each, self.kernel) for each in [*observed, *constraints]))
            return _Scores(model, _improvement(model, inputs, history, number, point), inputs, number, point)


def _improvement(
    model: ModelListGP, inputs: "_Inputs", history: History, number: int, reference: Array | None
) -> Callable[[Tensor], Tensor]:
    """BoTorch's noisy improvement over the tried points, at points `n x 1 x coordinates`, `n`."""
    n_objectives = 1 if reference is None else len(reference)
    tried = [i for i, outcome in enumerate(history.outcomes) if outcome.observed]
    pending = pending_points(history, inputs.categories)
    shared = {
        "X_baseline": inputs(history.finished[tried]),
        "X_pending": inputs(pending) if len(pending) else None,
        "prune_baseline": True,
        "sampler": SobolQMCNormalSampler(torch.Size([_N_SAMPLES]), seed=number),
        "constraints": [_output(j) for j in range(n_objectives, model.num_outputs)] or None,
    }
    made: Callable[[Tensor], Tensor]
    if reference is None:
        made = qLogNoisyExpectedImprovement(model, objective=GenericMCObjective(_output(0)), **shared)
    else:
        objectives = IdentityMCMultiOutputObjective(list(range(n_objectives)), num_outcomes=model.num_outputs)
        made = logei.qLogNoisyExpectedHypervolumeImprovement(model, reference.tolist(), objective=objectives, **shared)
    return made


@dataclass(frozen=True)
class _Scores:
    """The acquisition function of a fitted model, whose outputs are the objectives, then the constraints.

    Attributes:
        model: The model.
        improvement: BoTorch's acquisition function of it.
        inputs: Coordinates of points.
        number: Number of the trial.
        reference: Reference point of several objectives.
    """

    model: ModelListGP
    improvement: Callable[[Tensor], Tensor]
    inputs: "_Inputs"
    number: int
    reference: Array | None

    @property
    def lengthscales(self) -> Tensor:
        objectives = self.model.models[: 1 if self.reference is None else len(self.reference)]
        return torch.stack([self.inputs.lengthscales(each) for each in objectives]).log().mean(dim=0).exp()

    def merit(self, points: Tensor) -> Tensor:
        """Posterior mean, with several objectives the exclusive hypervolume, of feasible points first."""
        with torch.no_grad(), _as_ever(self.number):
            posterior = self.model.posterior(self.inputs(points))
            mean, deviation = posterior.mean, posterior.variance.sqrt()
        n_objectives = 1 if self.reference is None else len(self.reference)
        kept = torch.special.log_ndtr(-mean[:, n_objectives:] / deviation[:, n_objectives:]).sum(dim=1)
        if self.reference is not None:
            return feasible_volumes(mean[:, :n_objectives].numpy(), self.reference, kept)
        return feasible_first(mean[:, 0], kept)

    def log_value(self, points: Tensor) -> Tensor:
        with torch.no_grad(), _as_ever(self.number):
            return torch.cat([self.improvement(part[:, None]) for part in torch.split(self.inputs(points), _CHUNK)])

    def repeated(self) -> tuple[Tensor, Tensor]:
        """None: a point does not improve on its own noiseless value."""
        return torch.empty(0, len(self.inputs.categories), dtype=torch.float64), torch.empty(0, dtype=torch.float64)


@dataclass(frozen=True)
class _Inputs:
    """The model's coordinates of points: f features, the parameters, and the step if there are several."""

    categories: Sequence[int]
    features: Features
    has_steps: bool

    @classmethod
    def of(cls, X: Tensor, categories: Sequence[int], has_steps: bool, description: Description) -> "_Inputs":
        return cls(categories, Features.of(description, X[:, : len(categories)]), has_steps)

    def __call__(self, points: Tensor) -> Tensor:
        """Coordinates of codes `n x d`, at the last step, or of observations `n x (d + 1)` at theirs."""
        codes, steps = points[:, : len(self.categories)], points[:, len(self.categories) :]
        if self.has_steps and steps.shape[1] == 0:
            steps = torch.ones(len(points), 1, dtype=torch.float64)
        parameters = [_one_hot(codes[:, k], n) if n else codes[:, k, None] for k, n in enumerate(self.categories)]
        return torch.cat([torch.from_numpy(self.features(codes)), *parameters, steps], dim=1)

    def lengthscales(self, model: SingleTaskGP) -> Tensor:
        """Length scales of the d parameters, `d`; of a category, the geometric mean of those of its choices."""
        widths = [n + 1 if n else 1 for n in self.categories]
        scales = _scaled(model.covar_module).lengthscale.detach().flatten()[self.features.number :]
        parts = scales[: sum(widths)].split(widths)
        return torch.stack([part.log().mean().exp() for part in parts])


def _one_hot(codes: Tensor, n: int) -> Tensor:
    """Coordinates `n x (choices + 1)` of a category's codes, the last of them that of a missing value."""
    choices = (codes * n).round().long()
    return torch.nn.functional.one_hot(choices, n + 1).double() / math.sqrt(2)


def _output(j: int) -> Callable[..., Tensor]:
    """Function that takes one output of the model."""
    return lambda outputs, X=None: outputs[..., j]


def _fitted(X: Tensor, y: Tensor, kernel: str | None) -> SingleTaskGP:
    made = None if kernel is None else gpytorch.kernels.ScaleKernel(_kernel(kernel, X.shape[1]))
    model = SingleTaskGP(X, y[:, None], covar_module=made, outcome_transform=Standardize(m=1))
    fit_gpytorch_mll(gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model))
    return model


def _kernel(name: str, n_coordinates: int) -> Any:
    """A kernel of GPyTorch with one length scale for each coordinate."""
    return getattr(gpytorch.kernels, name)(ard_num_dims=n_coordinates)


def _scaled(kernel: Any) -> Any:
    """The kernel that has the length scales."""
    return kernel.base_kernel if isinstance(kernel, gpytorch.kernels.ScaleKernel) else kernel


@contextmanager
def _as_ever(seed: int) -> Iterator[None]:
    """Torch's random numbers from a seed, and no warnings of what is meant or mended."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        torch.manual_seed(seed)
        for category in (BotorchWarning, GPInputWarning, NumericalWarning):
            warnings.simplefilter("ignore", category)
        yield
