# /// script
# dependencies = [
#     "HEBO==0.3.6",
#     "catboost==1.2.10",  # with the following, since pip does not find them in minutes
#     "GPy==1.13.2",
#     "gpytorch==1.13",
#     "matplotlib==3.8.4",
#     "numpy==1.24.4",
#     "pandas==2.2.3",
#     "scikit-learn==1.5.2",
#     "scipy==1.12.0",
#     "torch==2.13.0",
# ]
# ///
"""HEBO, https://arxiv.org/abs/2012.03826: a process of warped values, and a front of three acquisition functions."""

import numpy as np
import pandas as pd
import torch
from hebo.design_space.design_space import DesignSpace
from hebo.optimizers.hebo import HEBO
from serving import Space, serve

torch.set_num_threads(1)


class Hebo:
    """HEBO with its defaults."""

    def __init__(self, space: Space, seed: int) -> None:
        torch.manual_seed(seed)
        self._space, self._asked = space, []
        known = DesignSpace().parse([{"name": name} | _kind(size, ordered) for name, size, ordered in space.parameters])
        self._hebo = HEBO(known, scramble_seed=seed)

    def ask(self):
        self._asked.append(self._hebo.suggest(n_suggestions=1))
        return self._space.point(self._asked[-1].iloc[0].to_dict())

    def tell(self, number, value):
        if value is not None:
            self._hebo.observe(pd.DataFrame(self._asked[number]), np.array([[-value]]))


def _kind(size, ordered):
    if size is None:
        return {"type": "num", "lb": 0, "ub": 1}
    return {"type": "int", "lb": 0, "ub": size - 1} if ordered else {"type": "cat", "categories": list(range(size))}


serve(Hebo)
