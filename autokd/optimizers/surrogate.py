"""The model of the objective: a Gaussian process over codes.

    X   n x q        observed points: d codes, then the step where trials report at several (q = d or d + 1)
    y   n            observed values, larger is better
    l   q            length scales
    k(x, x')         exp(-1/2 sum_j delta_j^2 / l_j^2)
    delta_j          x_j - x'_j for a number, [x_j != x'_j] for a category

The prior is BoTorch's default, which widens with the number of coordinates (Hvarfner et al. 2024,
https://arxiv.org/abs/2402.02229), over standardised values: log l_j ~ N(sqrt 2 + log(q) / 2, 3) and
log noise variance ~ N(-4, 1).
A category is one coordinate with one length scale, and not one a choice, so that the prior counts parameters. Without
categories the model is BoTorch's `SingleTaskGP` as it comes.
"""

import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from autokd.optimizers.coordinates import MISSING

with warnings.catch_warnings():
    # linear_operator 0.6 uses torch.jit.script, which torch 2.13 deprecates; it warns once, at its first import.
    warnings.filterwarnings("ignore", message="`torch.jit.script` is deprecated", category=DeprecationWarning)
    from botorch.acquisition.analytic import LogExpectedImprovement
    from botorch.exceptions.errors import ModelFittingError
    from botorch.exceptions.warnings import BotorchWarning
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from gpytorch.constraints import GreaterThan
    from gpytorch.kernels import RBFKernel
    from gpytorch.mlls import ExactMarginalLogLikelihood
    from gpytorch.priors import LogNormalPrior
    from linear_operator.utils.errors import NanError, NotPSDError
    from linear_operator.utils.warnings import NumericalWarning

__all__ = ["MixedKernel", "Surrogate"]

_logger = logging.getLogger(__name__)

_MAX_ITERATIONS = 75  # of L-BFGS; the fit has converged long before, or it is lost
_TOLERANCE = 1e-6  # relative, of the log density an observation; SciPy's 2e-9 takes longer and finds no better optima
_SHORTEST = 2.5e-2  # BoTorch's least length scale
_NUMERICAL_ERRORS = (ModelFittingError, NanError, NotPSDError, torch.linalg.LinAlgError)  # type: ignore[attr-defined]


class MixedKernel(RBFKernel):  # type: ignore[misc]
    """Kernel k above: a squared exponential whose distance of two categories is 1 unless they are equal."""

    has_lengthscale = True

    def __init__(self, categories: Sequence[int]) -> None:
        """Kernel over `len(categories)` coordinates.

        Args:
            categories: Number of choices a coordinate, 0 for a number.
        """
        prior = LogNormalPrior(loc=math.sqrt(2) + math.log(len(categories)) / 2, scale=math.sqrt(3))
        super().__init__(
            ard_num_dims=len(categories),
            lengthscale_prior=prior,
            lengthscale_constraint=GreaterThan(_SHORTEST, transform=None, initial_value=prior.mode),
        )
        self._numeric = [j for j, n in enumerate(categories) if n == 0]
        self._choices = {j: n for j, n in enumerate(categories) if n > 0}

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: object) -> Tensor:
        """Kernel of each row of `... x n x q` with each of `... x m x q`, or the diagonal."""
        distance: Tensor = self.covar_dist(self._embed(x1), self._embed(x2), square_dist=True, diag=diag, **params)
        return distance.div(-2).exp()

    def _embed(self, x: Tensor) -> Tensor:
        """Points whose Euclidean distance is delta / l: two one-hot rows differ by sqrt 2."""
        scale = self.lengthscale.squeeze(-2)
        parts = [x[..., self._numeric] / scale[..., self._numeric]]
        for j, n in self._choices.items():
            codes = torch.tensor([*(i / n for i in range(n)), MISSING], dtype=x.dtype, device=x.device)
            parts.append((x[..., j, None] == codes).to(x.dtype) / (math.sqrt(2) * scale[..., j, None]))
        return torch.cat(parts, dim=-1)


@dataclass(frozen=True)
class Surrogate:
    """A fitted model, which predicts at the last step.

    Attributes:
        model: A `SingleTaskGP` over q coordinates, whose attributes BoTorch does not type.
        has_steps: Whether the last of these is the step.
    """

    model: Any
    has_steps: bool

    @classmethod
    def fit(cls, X: Tensor, y: Tensor, categories: Sequence[int], has_steps: bool, seed: int) -> "Surrogate":
        """Model of the observations, at least one, with the hyper-parameters of largest posterior density.

        The fit starts from the priors' modes and depends on nothing but its arguments. If it fails, the modes are used
        and a warning is logged.

        Args:
            X: Observed points, `n x q`, float64.
            y: Observed values, `n`, float64.
            categories: Choices a coordinate as in `Encoding.categories`, without the step.
            has_steps: Whether the last column of X is the step, in [0, 1].
            seed: For BoTorch's second attempts, which start from a draw of the prior.
        """
        all_categories = (*categories, 0) if has_steps else tuple(categories)
        model = _model(X, y, all_categories)
        if len(y) > 1:
            try:
                _maximise(model, seed)
            except _NUMERICAL_ERRORS as error:
                _logger.warning(
                    "The fit to %d observations failed, so default length scales are used: %s", len(y), error
                )
                model = _model(X, y, all_categories)
        return cls(model.eval(), has_steps)

    @property
    def lengthscales(self) -> Tensor:
        """Length scales of the d parameters, `d`."""
        scales: Tensor = self.model.covar_module.lengthscale.detach().reshape(-1)
        return scales[:-1] if self.has_steps else scales

    @property
    def noise(self) -> float:
        """Standard deviation of one observation, in the objective's unit."""
        variance: Tensor = self.model.likelihood.noise.detach()
        scale: Tensor = self.model.outcome_transform.stdvs
        return float(variance.sqrt() * scale)

    def mean(self, points: Tensor) -> Tensor:
        """Posterior mean at codes `n x d`, `n`."""
        with torch.no_grad(), _quiet():
            mean: Tensor = self.model.posterior(self._at_last_step(points)).mean
        return mean.squeeze(-1)

    def joint(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean, `n`, and covariance, `n x n`, of the objective without noise at codes `n x d`."""
        with torch.no_grad(), _quiet():
            belief = self.model.posterior(self._at_last_step(points)).mvn
        return belief.mean, belief.covariance_matrix

    def believe(self, pending: Tensor) -> "Surrogate":
        """Model that has seen its own posterior mean at pending points `p x d` (Ginsbourger et al. 2010's believer).

        The mean stays as it is and only the variance near the pending points shrinks, so a pending point is no reason
        to expect an improvement. Sampled fantasies (`X_pending` of BoTorch) integrate over the outcome instead, but
        need Monte Carlo where this has the closed form of expected improvement.
        """
        if len(pending) == 0:
            return self
        with torch.no_grad(), _quiet():
            self.model.posterior(pending.new_zeros(1, self.model.train_inputs[0].shape[-1]))  # fills its caches
            mean = self.mean(pending).unsqueeze(-1)
            believer = self.model.condition_on_observations(self._at_last_step(pending), mean)
        return replace(self, model=believer)

    def log_expected_improvement(self, points: Tensor, best: float) -> Tensor:
        """Logarithm of the expected improvement over `best` at codes `n x d`, `n`."""
        with torch.no_grad(), _quiet():
            score: Tensor = LogExpectedImprovement(self.model, best_f=best)(self._at_last_step(points).unsqueeze(1))
        return score

    def _at_last_step(self, points: Tensor) -> Tensor:
        return torch.cat([points, points.new_ones(len(points), 1)], dim=1) if self.has_steps else points


def _model(X: Tensor, y: Tensor, categories: Sequence[int]) -> SingleTaskGP:
    with _quiet():
        return SingleTaskGP(X, y.unsqueeze(-1), covar_module=MixedKernel(categories))


def _maximise(model: SingleTaskGP, seed: int) -> None:
    mll = ExactMarginalLogLikelihood(model.likelihood, model)
    # No device is forked: all of this is on the CPU.
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(seed)
        fit_gpytorch_mll(mll, optimizer_kwargs={"options": {"maxiter": _MAX_ITERATIONS, "ftol": _TOLERANCE}})


class _quiet(warnings.catch_warnings):  # noqa: N801 (used like a function)
    """Silences what BoTorch and linear_operator say of few, equal or repeated observations, which are no news here."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore", BotorchWarning)
        warnings.simplefilter("ignore", NumericalWarning)
