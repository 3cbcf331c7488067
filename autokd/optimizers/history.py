"""What the trials of a study say: observations for the model, outcomes for the region, points that are pending.

Values are turned so that larger is better. The rows of a study are all there is to know; nothing is kept between calls.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import torch
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor

from autokd.optimizers.hypervolume import front, hypervolume, reference_point
from autokd.optimizers.space.encoding import Encoding
from autokd.optimizers.trust_region import Outcome

__all__ = ["PROPOSAL", "History"]

PROPOSAL = "autokd:proposal"
"""System attribute under which a running trial keeps what was proposed to it, until it has asked for it."""

Values = tuple[float, ...]
"""One an objective, or none at all."""

_N_STEPS = 4  # reported steps of one trial that the model sees; a user may report a thousand
_STEP_RATIO = 3  # and how far apart they are


@dataclass(frozen=True)
class History:
    """The trials of a study but the one being proposed, as tensors.

    Attributes:
        X: Points of the observations, `n x d`, or `n x (d + 1)` with the step in [0, 1] last where trials report at
            more than one step.
        Y: Observed values, `n x objectives`.
        has_steps: Whether X has the step's coordinate.
        finished: Points of all finished trials in the order in which they finished, `m x d`.
        final: Values of these, `m x objectives`; NaN for those that are not complete.
        excesses: By how much these exceed each limit that the objective measures (Optuna's constraints), `m x limits`;
            NaN where a trial does not say. At most 0 keeps a limit.
        outcomes: What each of these says to the trust region, `m`.
        pending: Points of the running trials, `p x d`.
    """

    X: Tensor
    Y: Tensor
    has_steps: bool
    finished: Tensor
    final: Tensor
    excesses: Tensor
    outcomes: tuple[Outcome, ...]
    pending: Tensor

    @property
    def feasible(self) -> Tensor:
        """Which finished trials are complete and known to break no limit, `m`, bool."""
        return ~self.final.isnan().any(dim=1) & ~(self.excesses > 0).any(dim=1)

    @classmethod
    def of(
        cls,
        trials: Sequence[FrozenTrial],
        encoding: Encoding,
        signs: Sequence[float],
        reference: Sequence[float] | None = None,
    ) -> "History":
        """History of a study's trials.

        Reported values of running trials are observations like those of finished ones. A complete trial's own values
        stand at its last reported step, or at the last step of all if it reported none. A failed trial is observed
        with the worst final values there are, so that the search keeps away from it; it is left out while there is
        none. A trial that ends in a value that is not finite, or is pruned without one, counts as failed. A trial
        without any parameter of the space says nothing. Of several objectives, what a trial says to the region is the
        hypervolume of all that finished up to it.

        Args:
            trials: Trials in any state, without the one for which a proposal is sought.
            encoding: The search space.
            signs: 1 to maximise, -1 to minimise, one an objective.
            reference: Reference point of the hypervolume, turned so that larger is better; None infers it.
        """
        steps = sorted({step for t in trials for step in t.intermediate_values})
        has_steps = len(steps) > 1
        records = [_record(t, encoding, signs, steps[-1] if steps else 0, has_steps) for t in trials]
        known = [record for record in records if record is not None]
        finished = sorted((r for r in known if r.trial.state.is_finished()), key=_finished)
        running = [r for r in known if r.trial.state == TrialState.RUNNING]
        worst = _worst(known)
        seen = [(r.codes, *pair) for r in (*finished, *running) for pair in _observations(r, worst)]
        X = _matrix([codes for codes, _, _ in seen], encoding.dimension)
        if has_steps:
            X = torch.cat([X, _scaled([step for _, step, _ in seen], steps)], dim=1)
        n_objectives = len(signs)
        lost = (math.nan,) * n_objectives
        history = cls(
            X=X,
            Y=_matrix([values for _, _, values in seen], n_objectives),
            has_steps=has_steps,
            finished=_matrix([r.codes for r in finished], encoding.dimension),
            final=_matrix([r.final if r.complete else lost for r in finished], n_objectives),
            excesses=_excesses([r.trial for r in finished]),
            outcomes=(),
            pending=_matrix([r.codes for r in running], encoding.dimension),
        )
        return replace(history, outcomes=_outcomes(finished, history, reference))


@dataclass(frozen=True)
class _Record:
    """One trial: its codes, and its values by step, larger is better, not all finite."""

    trial: FrozenTrial
    codes: list[float]
    values: dict[int, Values]
    last_step: int

    @property
    def failed(self) -> bool:
        """Whether it has finished without finite values."""
        return self.trial.state.is_finished() and (self.trial.state == TrialState.FAIL or not _is_finite(self.final))

    @property
    def final(self) -> Values:
        """Values at its last step, none where it has none."""
        return self.values[max(self.values)] if self.values else ()

    @property
    def complete(self) -> bool:
        return self.trial.state == TrialState.COMPLETE and not self.failed


def _record(
    trial: FrozenTrial, encoding: Encoding, signs: Sequence[float], last_step: int, has_steps: bool
) -> _Record | None:
    params = {**_proposal(trial, encoding), **trial.params}
    if params.keys().isdisjoint(encoding.names):
        return None
    values: dict[int, Values] = {step: (value,) for step, value in sorted(trial.intermediate_values.items())}
    if trial.state == TrialState.COMPLETE and trial.values is not None:
        values[max(values, default=last_step)] = tuple(trial.values)
    thinned = _thinned(values) if has_steps else values
    turned = {step: tuple(s * v for s, v in zip(signs, of_step, strict=True)) for step, of_step in thinned.items()}
    return _Record(trial, encoding.encode(params), turned, last_step)


def _proposal(trial: FrozenTrial, encoding: Encoding) -> dict[str, object]:
    """What was proposed to a running trial, which need not have asked for all of it yet."""
    if trial.state != TrialState.RUNNING:
        return {}
    return encoding.from_internal(trial.system_attrs.get(PROPOSAL, {}))


def _worst(records: Sequence[_Record]) -> Values | None:
    """The worst final values, or the worst reported ones while no trial is complete."""
    final = [r.final for r in records if r.complete]
    reported = [values for r in records for values in r.values.values() if _is_finite(values)]
    return tuple(min(column) for column in zip(*(final or reported), strict=True)) or None


def _observations(record: _Record, worst: Values | None) -> list[tuple[float, Values]]:
    """Pairs of step and values for the model."""
    values = {record.last_step: ()} if record.failed else record.values
    filled = {step: of_step if _is_finite(of_step) else worst for step, of_step in values.items()}
    return [(float(step), of_step) for step, of_step in filled.items() if of_step is not None]


def _is_finite(values: Values) -> bool:
    return bool(values) and all(map(math.isfinite, values))


def _excesses(trials: Sequence[FrozenTrial]) -> Tensor:
    of_trials = [trial.constraints for trial in trials]
    names = sorted({name for constraints in of_trials for name in constraints})
    rows = _matrix([[constraints.get(name, math.nan) for name in names] for constraints in of_trials], len(names))
    return torch.stack([_bounded(column) for column in rows.T], dim=1) if names else rows


def _bounded(excesses: Tensor) -> Tensor:
    """Infinite excesses as the largest finite ones of their sign, NaN as it is, same shape."""
    size = excesses[excesses.isfinite()].abs().max().item() if excesses.isfinite().any() else 1.0
    return excesses.clamp(-size, size)


def _outcomes(finished: Sequence[_Record], history: History, reference: Sequence[float] | None) -> tuple[Outcome, ...]:
    return tuple(
        Outcome(worth, not record.failed, record.trial.datetime_start, record.trial.datetime_complete)
        for record, worth in zip(finished, _worths(history, reference), strict=True)
    )


def _worths(history: History, reference: Sequence[float] | None) -> list[float | None]:
    """What each finished trial is worth to the region, None for one that is not feasible."""
    if history.final.shape[1] == 1:
        pairs = zip(history.final[:, 0].tolist(), history.feasible.tolist(), strict=True)
        return [value if feasible else None for value, feasible in pairs]
    values, feasible = history.final.numpy(), history.feasible.numpy()
    point = reference_point(values[feasible], reference)
    best = values[:0]  # the front so far: a hypervolume of all so far would take the square of the trials
    worths: list[float | None] = []
    for row, kept in zip(values, feasible, strict=True):
        if kept:
            best = np.vstack([best, row])
            best = best[front(best)]
        worths.append(hypervolume(best, point) if kept else None)
    return worths


def _thinned(values: dict[int, Values]) -> dict[int, Values]:
    """The last value and those nearest to a third, a ninth, ... of its step, in the order of the steps."""
    if len(values) <= _N_STEPS:
        return values
    last = max(values)
    kept = {_nearest(values, last / _STEP_RATIO**k) for k in range(_N_STEPS)}
    return {step: values[step] for step in sorted(kept)}


def _nearest(steps: Iterable[int], acquisition_function: float) -> int:
    return min(steps, key=lambda step: abs(step - acquisition_function))


def _scaled(steps: Sequence[float], all_steps: Sequence[int]) -> Tensor:
    """Steps on a logarithmic scale, `n x 1`: 0 the first of all and 1 the last."""
    shift = 1 - min(all_steps[0], 1)  # steps may start at 0
    low, high = math.log(all_steps[0] + shift), math.log(all_steps[-1] + shift)
    return ((torch.tensor(steps, dtype=torch.float64) + shift).log().unsqueeze(1) - low) / (high - low)


def _finished(record: _Record) -> tuple[datetime, int]:
    assert record.trial.datetime_complete is not None  # Optuna validates this of finished trials
    return record.trial.datetime_complete, record.trial.number


def _matrix(rows: Sequence[Sequence[float]], n_columns: int) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), n_columns)
