# /// script
# dependencies = ["botorch==0.18.1", "torch==2.13.0"]
# ///
"""BoTorch, https://botorch.org, in the loop of its tutorials: Sobol points, then noisy expected improvement.

`MixedSingleTaskGP` with categories, else `SingleTaskGP`, values standardised, and `qLogNoisyExpectedImprovement`
(Ament et al. 2023, https://arxiv.org/abs/2310.20708), maximised over a grid by local search, and where there is a
continuum by its optimiser of mixed spaces. Ordered choices lie evenly in the unit interval. There are more Sobol points
while fewer than two points have a value, too few for a model.
"""

import torch
from botorch.acquisition import qLogNoisyExpectedImprovement
from botorch.fit import fit_gpytorch_mll
from botorch.models import MixedSingleTaskGP, SingleTaskGP
from botorch.models.transforms import Standardize
from botorch.optim import optimize_acqf, optimize_acqf_discrete_local_search, optimize_acqf_mixed_alternating
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
        self._choices = [_choices(size, ordered) for _, size, ordered in space.parameters]

    def ask(self):
        known = [number for number, value in self._values.items() if value is not None]
        is_early = len(self._points) < N_INITIAL or len(known) < FEWEST_VALUES
        self._points.append(self._next_of_sobol() if is_early else self._best(known))
        return self._points[-1]

    def tell(self, number, value):
        self._values[number] = value

    def _next_of_sobol(self):
        (row,) = self._sobol.draw(1)
        pairs = zip(row.tolist(), self._space.sizes, strict=True)
        return [u if size is None else int(min(u * size, size - 1)) for u, size in pairs]

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
        values = zip(self._maximum(acquisition, categories), self._choices, strict=True)
        return [float(value) if choices is None else int((choices - value).abs().argmin()) for value, choices in values]

    def _maximum(self, acquisition, categories):
        """Where the acquisition function is largest."""
        effort = {"q": 1, "num_restarts": 20, "raw_samples": 512}
        finite = {place: choices.tolist() for place, choices in enumerate(self._choices) if choices is not None}
        if len(finite) == len(self._choices):
            (found,), _ = optimize_acqf_discrete_local_search(acquisition, discrete_choices=self._choices, **effort)
            return found
        highest = [1.0 if choices is None else float(choices[-1]) for choices in self._choices]
        bounds = torch.tensor([[0.0] * len(highest), highest])
        if not finite:
            (found,), _ = optimize_acqf(acquisition, bounds, **effort)
            return found
        unordered = {place: finite.pop(place) for place in categories}
        (found,), _ = optimize_acqf_mixed_alternating(
            acquisition, bounds, discrete_dims=finite or None, cat_dims=unordered or None, **effort
        )
        return found

    def _inputs(self, numbers):
        rows = [
            [
                place if choices is None else float(choices[place])
                for choices, place in zip(self._choices, point, strict=True)
            ]
            for point in (self._points[number] for number in numbers)
        ]
        return torch.tensor(rows)


def _choices(size, ordered):
    """Where the choices of a parameter lie; None if there is a continuum."""
    if size is None:
        return None
    return torch.arange(size) / max(1, size - 1) if ordered else torch.arange(size).double()


serve(BoTorch)
