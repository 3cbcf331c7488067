"""Trials of earlier studies in the coordinates of this one, so that it can learn from them.

Parameters are matched by name. A trial counts if all its values of parameters that this study has are legal here. A
parameter that no trial has is unknown to the earlier task, which then says nothing of it; one that only the earlier
trials have is dropped, so that its effect looks like noise.
"""

from dataclasses import dataclass

import torch
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial
from torch import Tensor

from autokd.optimizers.errors import OptimizerError
from autokd.optimizers.history import History
from autokd.optimizers.space.encoding import Encoding
from search_spaces.design.dimensions import contains

__all__ = ["FEWEST_EARLIER", "EarlierStudy", "EarlierTask", "signs_of", "suggestion_number"]

FEWEST_EARLIER = 5
"""Fewest trials that an earlier task must have here; fewer say too little about an order of points."""

_SUGGESTED = 4
"""Of so many start-up trials earlier tasks suggest one, the first. A search with fewer points of its own stays in the
optimum of a related task: with every other one suggested, HPOLib's regret after 40 trials was 1.9 times that of a cold
search, with every fourth 1.3 times (`tests/benchmarks/search`)."""


@dataclass(frozen=True)
class EarlierStudy:
    """The finished trials of a study, as they were.

    Attributes:
        trials: Its finished trials.
        signs: For each objective, 1 to maximise and -1 to minimise.
    """

    trials: tuple[FrozenTrial, ...]
    signs: tuple[float, ...]

    @classmethod
    def of(cls, study: Study) -> "EarlierStudy":
        """The finished trials that a study has now."""
        trials = tuple(trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished())
        return cls(trials, signs_of(study))


@dataclass(frozen=True)
class EarlierTask:
    """An earlier study in the coordinates of this one.

    Attributes:
        history: Its trials.
        known: Mask of the coordinates that some of these trials have, `d`, bool.
        missing: Code of a missing value of each coordinate, `d`.
    """

    history: History
    known: Tensor
    missing: Tensor

    @classmethod
    def of(cls, study: EarlierStudy, encoding: Encoding, n_objectives: int) -> "EarlierTask | None":
        """The study in these coordinates; None if fewer than `FEWEST_EARLIER` of its trials count.

        Args:
            study: The earlier study.
            encoding: Encoding of this study's search space.
            n_objectives: Number of this study's objectives.

        Raises:
            OptimizerError: If the studies differ in the number of objectives.
        """
        if len(study.signs) != n_objectives:
            raise OptimizerError(
                f"`earlier` studies must have {n_objectives} objectives as this one, but one has {len(study.signs)}."
            )
        legal = [trial for trial in study.trials if _is_legal(trial, encoding)]
        history = History.of(legal, encoding, study.signs)
        if sum(outcome.observed for outcome in history.outcomes) < FEWEST_EARLIER:
            return None
        names = {name for trial in legal for name in trial.params}
        known = torch.tensor([name in names for name in encoding.names])
        missing = torch.tensor([each.missing() for each in encoding.coordinates], dtype=torch.float64)
        return cls(history, known, missing)

    def filled(self, own: Tensor) -> Tensor:
        """Its observed points with the codes of another point, `d`, where it knows nothing, `m x d`."""
        observed = self.history.finished[[outcome.observed for outcome in self.history.outcomes]]
        return torch.where(self.known, observed, own)

    def seen_from_here(self, points: Tensor) -> Tensor:
        """The points `n x d` without what the earlier task does not know, so that it cannot tell them apart by it."""
        return torch.where(self.known, points, self.missing)


def signs_of(study: Study) -> tuple[float, ...]:
    """For each objective, 1 to maximise and -1 to minimise."""
    return tuple(1.0 if direction == StudyDirection.MAXIMIZE else -1.0 for direction in study.directions)


def suggestion_number(trial: int) -> int | None:
    """Which of the suggestions of earlier tasks a start-up trial has; None for one with the search's own point."""
    return None if trial % _SUGGESTED else trial // _SUGGESTED


def _is_legal(trial: FrozenTrial, encoding: Encoding) -> bool:
    pairs = zip(encoding.names, encoding.coordinates, strict=True)
    return all(contains(each.distribution, trial.params[name]) for name, each in pairs if name in trial.params)
