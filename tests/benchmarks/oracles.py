r"""Values of GPyTorch and BoTorch with which `tests/autokd/optimizers/test_oracles.py` compares ours.

Writes `tests/data/botorch.json`: inputs, values and versions, all in double precision. The two packages are needed here
only:

    pip install --no-deps --target /tmp/oracles botorch gpytorch linear_operator jaxtyping wadler_lindig \
        multipledispatch threadpoolctl pyre_extensions typing_inspect mypy_extensions
    PYTHONPATH=/tmp/oracles python tests/benchmarks/oracles.py
"""

import json
import warnings
from importlib.metadata import version
from pathlib import Path

import gpytorch
import numpy as np
import torch
from botorch.acquisition.analytic import LogExpectedImprovement
from botorch.acquisition.multi_objective.analytic import ExpectedHypervolumeImprovement
from botorch.utils.multi_objective.box_decompositions import NondominatedPartitioning
from botorch.utils.multi_objective.hypervolume import Hypervolume
from botorch.utils.multi_objective.pareto import is_non_dominated
from botorch.utils.testing import MockModel, MockPosterior
from torch import Tensor

FILE = Path(__file__).parents[1] / "data" / "botorch.json"
N_CATEGORIES = 3
SHARE = 0.05  # noise as a share of the variance


class Exact(gpytorch.models.ExactGP):
    """Exact process of mean 0 whose kernel, length scales, variance and noise are given."""

    def __init__(self, X: Tensor, y: Tensor, kernel: gpytorch.kernels.Kernel, variance: float) -> None:
        likelihood = gpytorch.likelihoods.GaussianLikelihood()
        super().__init__(X, y, likelihood)
        self.mean, self.kernel = gpytorch.means.ZeroMean(), gpytorch.kernels.ScaleKernel(kernel)
        self.kernel.outputscale, likelihood.noise = variance, SHARE * variance
        self.eval()
        likelihood.eval()

    def forward(self, X: Tensor) -> gpytorch.distributions.MultivariateNormal:
        return gpytorch.distributions.MultivariateNormal(self.mean(X), self.kernel(X))


def encoded(points: Tensor) -> Tensor:
    """Points whose last coordinate, a category, is one-hot: two different ones have the squared distance 1."""
    one_hot = torch.nn.functional.one_hot(points[:, -1].long(), N_CATEGORIES).double() / 2**0.5
    return torch.cat([points[:, :-1], one_hot], dim=1)


def process(kind: str, rng: np.random.Generator) -> dict[str, object]:
    """Posterior of an exact process, and after it is conditioned on its own mean at two points."""
    scales = torch.tensor([0.3, 0.8, 1.2])
    kernel = gpytorch.kernels.MaternKernel(nu=2.5, ard_num_dims=5) if kind == "matern" else None
    kernel = kernel or gpytorch.kernels.RBFKernel(ard_num_dims=5)
    kernel.lengthscale = torch.cat([scales[:2], scales[2:].expand(N_CATEGORIES)])
    X, points, pending = (points_of(n, rng) for n in (14, 6, 2))
    y = torch.from_numpy(rng.normal(size=len(X)))
    y = (y - y.mean()) / y.std(correction=0)
    fit = kernel(encoded(X)).add_diagonal(torch.tensor([SHARE])).inv_quad(y[:, None])
    variance = float((1 + fit / 2) / (1 + len(X) / 2))
    model = Exact(encoded(X), y, kernel, variance)
    posterior, believed = model(encoded(points)), model(encoded(pending)).mean
    covariance = posterior.covariance_matrix
    model.set_train_data(encoded(torch.cat([X, pending])), torch.cat([y, believed]), strict=False)
    conditioned = model(encoded(points))
    return {
        "kernel": kind,
        "X": X.tolist(),
        "y": y.tolist(),
        "lengthscales": scales.tolist(),
        "share": SHARE,
        "points": points.tolist(),
        "pending": pending.tolist(),
        "variance": variance,
        "mean": posterior.mean.tolist(),
        "covariance": covariance.tolist(),
        "conditioned_mean": conditioned.mean.tolist(),
        "conditioned_variance": conditioned.variance.tolist(),
    }


def points_of(n: int, rng: np.random.Generator) -> Tensor:
    """Two numbers and a category a row."""
    return torch.from_numpy(np.column_stack([rng.random((n, 2)), rng.integers(N_CATEGORIES, size=n)]))


def improvement() -> dict[str, object]:
    """Logarithm of the expected improvement over 0.5, from far below it to far above."""
    z = torch.tensor([-1e3, -300, -40, -12, -5, -2, -1.001, -1, -0.999, -0.3, 0, 0.5, 2, 8])
    deviation = torch.linspace(0.05, 3, len(z))
    mean = 0.5 + z * deviation
    model = MockModel(MockPosterior(mean=mean[:, None, None], variance=deviation.square()[:, None, None]))
    values = LogExpectedImprovement(model, best_f=0.5)(torch.zeros(len(z), 1, 1))
    return {"best": 0.5, "mean": mean.tolist(), "deviation": deviation.tolist(), "log_values": values.tolist()}


def front(m: int, rng: np.random.Generator) -> dict[str, object]:
    """Hypervolume of a front of m objectives, and expected hypervolume improvements over it."""
    values = torch.from_numpy(rng.normal(size=(12, m)))
    reference = torch.full((m,), -1.5)
    mean, deviation = torch.from_numpy(rng.normal(size=(8, m))), torch.from_numpy(rng.uniform(0.1, 1.5, size=(8, m)))
    model = MockModel(MockPosterior(mean=mean[:, None], variance=deviation.square()[:, None]))
    acquisition = ExpectedHypervolumeImprovement(
        model, ref_point=reference.tolist(), partitioning=NondominatedPartitioning(reference, values)
    )
    return {
        "values": values.tolist(),
        "reference": reference.tolist(),
        "mean": mean.tolist(),
        "deviation": deviation.tolist(),
        "hypervolume": Hypervolume(reference).compute(values[is_non_dominated(values)]),
        "expected_improvements": acquisition(torch.zeros(8, 1, m)).tolist(),
    }


def main() -> None:
    """Write the file."""
    warnings.simplefilter("ignore")
    torch.set_default_dtype(torch.float64)
    rng = np.random.default_rng(0)
    with torch.no_grad(), gpytorch.settings.fast_computations(False, False, False):
        values = {
            "versions": {name: version(name) for name in ("botorch", "gpytorch", "torch")},
            "processes": [process(kind, rng) for kind in ("squared exponential", "matern")],
            "improvement": improvement(),
            "fronts": [front(m, rng) for m in (2, 3, 4)],
        }
    FILE.write_text(json.dumps(values) + "\n")


if __name__ == "__main__":
    main()
