"""What the trials of a study say: observations for the model, outcomes for the region, points that are pending.

Values are turned so that larger is better. The rows of a study are all there is to know; nothing is kept between calls.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import torch
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor

from autokd.optimizers.encoding import Encoding
from autokd.optimizers.trust_region import Outcome

__all__ = ["PROPOSAL", "History"]

PROPOSAL = "autokd:proposal"
"""System attribute under which a running trial keeps what was proposed to it, until it has asked for it."""

_N_STEPS = 4  # reported steps of one trial that the model sees; a user may report a thousand
_STEP_RATIO = 3  # and how far apart they are


@dataclass(frozen=True)
class History:
    """The trials of a study but the one being proposed, as tensors.

    Attributes:
        X: Points of the observations, `n x d`, or `n x (d + 1)` with the step in [0, 1] last where trials report at
            more than one step.
        y: Observed values, `n`.
        has_steps: Whether X has the step's coordinate.
        finished: Points of all finished trials in the order in which they finished, `m x d`.
        outcomes: What each of these says to the trust region, `m`.
        pending: Points of the running trials, `p x d`.
    """

    X: Tensor
    y: Tensor
    has_steps: bool
    finished: Tensor
    outcomes: tuple[Outcome, ...]
    pending: Tensor

    @classmethod
    def of(cls, trials: Sequence[FrozenTrial], encoding: Encoding, sign: float) -> "History":
        """History of a study's trials.

        Reported values of running trials are observations like those of finished ones. A complete trial's own value
        stands at its last reported step, or at the last step of all if it reported none. A failed trial is observed
        with the worst final value there is, so that the search keeps away from it; it is left out while there is none.
        A trial that ends in a value that is not finite, or is pruned without one, counts as failed. A trial without any
        parameter of the space says nothing.

        Args:
            trials: Trials in any state, without the one for which a proposal is sought.
            encoding: The search space.
            sign: 1 to maximise, -1 to minimise.
        """
        steps = sorted({step for t in trials for step in t.intermediate_values})
        has_steps = len(steps) > 1
        records = [_record(t, encoding, sign, steps[-1] if steps else 0, has_steps) for t in trials]
        known = [record for record in records if record is not None]
        finished = sorted((r for r in known if r.trial.state.is_finished()), key=_finished)
        running = [r for r in known if r.trial.state == TrialState.RUNNING]
        worst = _worst(known)
        seen = [(r.codes, *pair) for r in (*finished, *running) for pair in _observations(r, worst)]
        X = _matrix([codes for codes, _, _ in seen], encoding.dimension)
        if has_steps:
            X = torch.cat([X, _scaled([step for _, step, _ in seen], steps)], dim=1)
        return cls(
            X=X,
            y=torch.tensor([value for _, _, value in seen], dtype=torch.float64),
            has_steps=has_steps,
            finished=_matrix([r.codes for r in finished], encoding.dimension),
            outcomes=tuple(_outcome(r) for r in finished),
            pending=_matrix([r.codes for r in running], encoding.dimension),
        )


@dataclass(frozen=True)
class _Record:
    """One trial: its codes, and its values by step, larger is better, not all finite."""

    trial: FrozenTrial
    codes: list[float]
    values: dict[int, float]
    last_step: int

    @property
    def failed(self) -> bool:
        """Whether it has finished without a finite value."""
        if not self.trial.state.is_finished():
            return False
        return self.trial.state == TrialState.FAIL or not math.isfinite(self.final)

    @property
    def final(self) -> float:
        """Value at its last step, NaN where it has none."""
        return self.values[max(self.values)] if self.values else math.nan

    @property
    def complete(self) -> bool:
        return self.trial.state == TrialState.COMPLETE and not self.failed


def _record(trial: FrozenTrial, encoding: Encoding, sign: float, last_step: int, has_steps: bool) -> _Record | None:
    params = {**_proposal(trial, encoding), **trial.params}
    if params.keys().isdisjoint(encoding.names):
        return None
    values = dict(sorted(trial.intermediate_values.items()))
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        values[max(values, default=last_step)] = trial.value
    thinned = _thinned(values) if has_steps else values
    return _Record(trial, encoding.encode(params), {step: sign * value for step, value in thinned.items()}, last_step)


def _proposal(trial: FrozenTrial, encoding: Encoding) -> dict[str, object]:
    """What was proposed to a running trial, which need not have asked for all of it yet."""
    if trial.state != TrialState.RUNNING:
        return {}
    return encoding.from_internal(trial.system_attrs.get(PROPOSAL, {}))


def _worst(records: Sequence[_Record]) -> float | None:
    """The worst final value, or the worst reported one while no trial is complete."""
    final = [r.final for r in records if r.complete]
    reported = [value for r in records for value in r.values.values() if math.isfinite(value)]
    return min(final or reported, default=None)


def _observations(record: _Record, worst: float | None) -> list[tuple[float, float]]:
    """Pairs of step and value for the model."""
    values = {record.last_step: math.nan} if record.failed else record.values
    filled = {step: value if math.isfinite(value) else worst for step, value in values.items()}
    return [(float(step), value) for step, value in filled.items() if value is not None]


def _outcome(record: _Record) -> Outcome:
    trial = record.trial
    value = record.final if record.complete else None
    return Outcome(value, not record.failed, trial.datetime_start, trial.datetime_complete)


def _thinned(values: dict[int, float]) -> dict[int, float]:
    """The last value and those nearest to a third, a ninth, ... of its step, in the order of the steps."""
    if len(values) <= _N_STEPS:
        return values
    last = max(values)
    kept = {_nearest(values, last / _STEP_RATIO**k) for k in range(_N_STEPS)}
    return {step: values[step] for step in sorted(kept)}


def _nearest(steps: Iterable[int], goal: float) -> int:
    return min(steps, key=lambda step: abs(step - goal))


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
