# /// script
# dependencies = ["botorch==0.18.1", "torch==2.13.0"]
# ///
"""BoTorch, https://botorch.org, in the loop of its tutorials: Sobol points, then noisy expected improvement.

`MixedSingleTaskGP` with categories, else `SingleTaskGP`, values standardised, and `qLogNoisyExpectedImprovement`
(Ament et al. 2023, https://arxiv.org/abs/2310.20708), maximised over the grid by local search. Ordered choices lie
evenly in the unit interval. There are more Sobol points while fewer than two points have a value, too few for a model.
"""

import torch
from botorch.acquisition import qLogNoisyExpectedImprovement
from botorch.fit import fit_gpytorch_mll
from botorch.models import MixedSingleTaskGP, SingleTaskGP
from botorch.models.transforms import Standardize
from botorch.optim import optimize_acqf_discrete_local_search
from gpytorch.mlls import ExactMarginalLogLikelihood
from serving import Space, serve
from torch.quasirandom import SobolEngine

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
N_INITIAL, FEWEST_VALUES = 10, 2


class BoTorch:
    """BoTorch."""

    def __init__(self, space: Space, seed: int) -> None:
        torch.manual_seed(seed)
        self._space = space
        self._sobol = SobolEngine(len(space.sizes), scramble=True, seed=seed)
        self._points = []
        self._values = {}
        self._choices = [
            torch.arange(size) / max(1, size - 1) if ordered else torch.arange(size).double()
            for size, ordered in zip(space.sizes, space.ordered, strict=True)
        ]

    def ask(self):
        known = [number for number, value in self._values.items() if value is not None]
        is_early = len(self._points) < N_INITIAL or len(known) < FEWEST_VALUES
        self._points.append(self._next_of_sobol() if is_early else self._best(known))
        return self._points[-1]

    def tell(self, number, value):
        self._values[number] = value

    def _next_of_sobol(self):
        (row,) = self._sobol.draw(1)
        return [int(min(u * size, size - 1)) for u, size in zip(row, self._space.sizes, strict=True)]

    def _best(self, known):
        pending = [number for number in range(len(self._points)) if number not in self._values]
        x, y = self._inputs(known), torch.tensor([[self._values[number]] for number in known])
        categories = [place for place, ordered in enumerate(self._space.ordered) if not ordered]
        scaled = Standardize(m=1)
        if categories:
            model = MixedSingleTaskGP(x, y, cat_dims=categories, outcome_transform=scaled)
        else:
            model = SingleTaskGP(x, y, outcome_transform=scaled)
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        acquisition = qLogNoisyExpectedImprovement(
            model, X_baseline=x, X_pending=self._inputs(pending) if pending else None, prune_baseline=True
        )
        found, _ = optimize_acqf_discrete_local_search(
            acquisition, q=1, discrete_choices=self._choices, num_restarts=20, raw_samples=512
        )
        values = zip(found[0], self._choices, strict=True)
        return [int((choices - value).abs().argmin()) for value, choices in values]

    def _inputs(self, numbers):
        rows = [
            [float(choices[index]) for choices, index in zip(self._choices, self._points[number], strict=True)]
            for number in numbers
        ]
        return torch.tensor(rows)


serve(BoTorch)
