# /// script
# dependencies = ["syne-tune==0.16.0", "huggingface_hub", "fastparquet", "h5py"]
# ///
"""Syne Tune's CQR, https://arxiv.org/abs/2305.03623: conformalised quantile regression, sampled by Thompson's rule."""

import datetime

from serving import Space, serve
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice, randint, uniform
from syne_tune.optimizer.baselines import CQR


class Cqr:
    """CQR with its defaults."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._trials = space, []
        known = {name: _domain(size, ordered) for name, size, ordered in space.parameters}
        self._scheduler = CQR(known, metric="value", do_minimize=False, random_seed=seed)

    def ask(self):
        config = self._scheduler.suggest().config
        self._trials.append(Trial(len(self._trials), config, datetime.datetime.now(datetime.UTC)))
        self._scheduler.on_trial_add(self._trials[-1])
        return self._space.point(config)

    def tell(self, number, value):
        if value is None:
            self._scheduler.on_trial_error(self._trials[number])
        else:
            self._scheduler.on_trial_complete(self._trials[number], {"value": value})


def _domain(size, ordered):
    if size is None:
        return uniform(0, 1)
    return randint(0, size - 1) if ordered else choice(list(range(size)))


serve(Cqr)
