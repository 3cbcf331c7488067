"""The trials of a study as tensors: observations for the model, outcomes for the trust region, and pending points.

The values of minimised objectives are negated, so that larger is better everywhere. A history is a function of the
study's trials; nothing is kept between calls.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

import numpy as np
import torch
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor

from autokd.optimizers.hypervolume import front, hypervolume, reference_point
from autokd.optimizers.reports import Values, reports
from autokd.optimizers.space.encoding import Encoding
from autokd.optimizers.trust_region import Outcome

__all__ = ["PROPOSAL", "Basis", "History", "Record", "finish", "read"]

T = TypeVar("T")

PROPOSAL = "autokd:proposal"
"""System attribute of a running trial that holds the proposed parameters, as it may not have asked for all of them."""

_N_STEPS = 4  # most reported steps of one trial that the model uses; an objective may report thousands
_STEP_RATIO = 3  # ratio between successive ones
_LARGEST = 1e100  # larger values are cut to it, so that a product of three is a number


@dataclass(frozen=True)
class History:
    """All trials of a study except the one to be proposed, as tensors.

    Attributes:
        X: Points of the observations, `n x d`; `n x (d + 1)` with the step in [0, 1] as the last column if trials
            report at more than one step.
        Y: Observed values, `n x objectives`.
        has_steps: Whether X has the column of the step.
        finished: Points of all finished trials, `m x d`, in the order in which they finished.
        final: Final values of the finished trials, `m x objectives`; NaN for those that are not complete.
        excesses: Values of Optuna's constraints of the finished trials, `m x constraints`; NaN where a trial reports
            none. A constraint is satisfied if its value is at most 0.
        outcomes: Outcomes of the finished trials for the trust region, `m`.
        pending: Points of the running trials, `p x d`.
        is_part: Whether finished trials are left out, since there are very many, see `archive`.
        basis: What the length scales of the model are fitted to, if not to the observations.
    """

    X: Tensor
    Y: Tensor
    has_steps: bool
    finished: Tensor
    final: Tensor
    excesses: Tensor
    outcomes: tuple[Outcome, ...]
    pending: Tensor
    is_part: bool = False
    basis: "Basis | None" = None

    @property
    def feasible(self) -> Tensor:
        """Mask of the finished trials that are complete and violate no constraint, `m`, bool."""
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

        Values that running trials have reported are observations like those of finished trials. The final values of a
        complete trial belong to its last reported step, or to the study's last step if it reported none. A failed trial
        is observed with the worst final values of all trials, so that the search avoids it; it is omitted as long as
        there are none. A trial that ends in a value that is not finite, or is pruned without a value, counts as failed.
        Values beyond 1e100 are cut to it. A trial with no parameter of the space is ignored, unless the space has none.
        With several objectives, the outcome of a trial for the trust region is the hypervolume of all trials that
        finished no later.

        Args:
            trials: Trials in any state, without the one to be proposed.
            encoding: Encoding of the search space.
            signs: For each objective, 1 to maximise and -1 to minimise.
            reference: Reference point of the hypervolume, with signs such that larger is better; inferred if None.
        """
        steps = sorted({step for t in trials for step in reports(t)})
        known = read(trials, encoding, signs, steps)
        finished = sorted((r for r in known if r.trial.state.is_finished()), key=finish)
        return cls.of_records(finished, known, encoding, signs, steps, reference)

    @classmethod
    def of_records(
        cls,
        finished: Sequence["Record"],
        known: Sequence["Record"],
        encoding: Encoding,
        signs: Sequence[float],
        steps: Sequence[int],
        reference: Sequence[float] | None = None,
        is_part: bool = False,
    ) -> "History":
        """History of trials that were read before, as `of` describes it.

        Args:
            finished: The finished ones, in the order in which they finished.
            known: All that are not finished, and any others.
            encoding: Encoding of the search space.
            signs: For each objective, 1 to maximise and -1 to minimise.
            steps: The steps at which any trial of the study reports, in order.
            reference: As in `of`.
            is_part: Whether finished trials are left out.
        """
        has_steps = len(steps) > 1
        running = [r for r in known if r.trial.state == TrialState.RUNNING]
        worst = _worst([*finished, *running])
        seen = [
            (r.codes, step, filled)
            for r in (*finished, *running)
            for step, values in r.observations
            if (filled := values or worst) is not None
        ]
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
            excesses=_excesses([r.excesses for r in finished]),
            outcomes=(),
            pending=_matrix([r.codes for r in running], encoding.dimension),
            is_part=is_part,
        )
        return replace(history, outcomes=_outcomes(finished, history, reference))


class Basis:
    """The history of the first of very many finished trials, and what was computed of it.

    Args:
        history: The history.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self._found: dict[Hashable, Any] = {}

    def once(self, key: Hashable, compute: Callable[[History], T]) -> T:
        """What a function makes of the history, computed once for each key."""
        if key not in self._found:
            self._found[key] = compute(self.history)
        found: T = self._found[key]
        return found


@dataclass(frozen=True, slots=True)
class Record:
    """One trial: its codes, and its values by step, with signs such that larger is better; some may not be finite.

    Attributes:
        trial: The trial.
        codes: Codes of its parameters, `d`.
        values: Values by step, in the order of the steps.
        final: Values at the trial's last step; empty if it has none.
        failed: Whether the trial finished without finite values.
        complete: Whether the trial is complete, with finite values.
        excesses: Values of Optuna's constraints by name.
        observations: Pairs of step and values for the model; None stands for the worst values of all trials.
        outcome: Outcome for the trust region of the first objective; without a value if a constraint is violated.
    """

    trial: FrozenTrial
    codes: list[float]
    values: dict[int, Values]
    final: Values
    failed: bool
    complete: bool
    excesses: dict[str, float]
    observations: tuple[tuple[float, Values | None], ...]
    outcome: Outcome


def read(
    trials: Iterable[FrozenTrial], encoding: Encoding, signs: Sequence[float], steps: Sequence[int]
) -> list[Record]:
    """The records of the trials that have a parameter of the space, or of all if it has none, in their order.

    Args:
        trials: Trials in any state.
        encoding: Encoding of the search space.
        signs: For each objective, 1 to maximise and -1 to minimise.
        steps: The steps at which any trial of the study reports, in order.
    """
    last_step = steps[-1] if steps else 0
    records = (_record(trial, encoding, signs, last_step, len(steps) > 1) for trial in trials)
    return [record for record in records if record is not None]


def finish(record: Record) -> tuple[datetime, int]:
    """When a finished trial ended, as a key for sorting."""
    assert record.trial.datetime_complete is not None  # Optuna validates this of finished trials
    return record.trial.datetime_complete, record.trial.number


def _record(
    trial: FrozenTrial, encoding: Encoding, signs: Sequence[float], last_step: int, has_steps: bool
) -> Record | None:
    params = {**_proposal(trial, encoding), **trial.params}
    if encoding.names and params.keys().isdisjoint(encoding.names):
        return None
    values = dict(sorted(reports(trial).items()))
    if trial.state == TrialState.COMPLETE and trial.values is not None:
        values[max(values, default=last_step)] = tuple(trial.values)
    thinned = _thinned(values) if has_steps else values
    turned = {
        step: tuple(_cut(s * v) for s, v in zip(signs, of_step, strict=True)) for step, of_step in thinned.items()
    }
    final = turned[max(turned)] if turned else ()
    failed = trial.state.is_finished() and (trial.state == TrialState.FAIL or not _is_finite(final))
    complete = trial.state == TrialState.COMPLETE and not failed
    observed = {last_step: ()} if failed else turned
    observations = tuple((float(step), of_step if _is_finite(of_step) else None) for step, of_step in observed.items())
    codes, excesses = encoding.encode(params), dict(trial.constraints)
    feasible = complete and not any(excess > 0 for excess in excesses.values())
    value = final[0] if feasible else None
    outcome = Outcome(value, not failed, trial.datetime_start, trial.datetime_complete)
    return Record(trial, codes, turned, final, failed, complete, excesses, observations, outcome)


def _proposal(trial: FrozenTrial, encoding: Encoding) -> dict[str, object]:
    """Parameters proposed to a running trial, which may not have asked for all of them yet."""
    if trial.state != TrialState.RUNNING:
        return {}
    return encoding.from_internal(trial.system_attrs.get(PROPOSAL, {}))


def _worst(records: Sequence[Record]) -> Values | None:
    """Worst final values, or worst reported values as long as no trial is complete; None if there are neither."""
    final = [r.final for r in records if r.complete]
    if not final:
        final = [values for r in records for values in r.values.values() if _is_finite(values)]
    return tuple(min(column) for column in zip(*final, strict=True)) or None


def _cut(value: float) -> float:
    """A finite value cut to `_LARGEST`; others unchanged."""
    return max(-_LARGEST, min(value, _LARGEST)) if math.isfinite(value) else value


def _is_finite(values: Values) -> bool:
    return bool(values) and all(map(math.isfinite, values))


def _excesses(of_trials: Sequence[Mapping[str, float]]) -> Tensor:
    names = sorted({name for constraints in of_trials for name in constraints})
    rows = _matrix([[constraints.get(name, math.nan) for name in names] for constraints in of_trials], len(names))
    return torch.stack([_bounded(column) for column in rows.T], dim=1) if names else rows


def _bounded(excesses: Tensor) -> Tensor:
    """The excesses, cut; infinite ones become the largest finite magnitude, 1 if it is 0; NaN is kept, same shape."""
    finite = excesses[excesses.isfinite()]
    size = _cut(finite.abs().max().item() if len(finite) else 0.0) or 1.0
    return excesses.clamp(-size, size)


def _outcomes(finished: Sequence[Record], history: History, reference: Sequence[float] | None) -> tuple[Outcome, ...]:
    of_first = [record.outcome for record in finished]
    if history.final.shape[1] == 1:
        return tuple(of_first)
    volumes = _volumes(history, reference)
    return tuple(replace(outcome, value=volume) for outcome, volume in zip(of_first, volumes, strict=True))


def _volumes(history: History, reference: Sequence[float] | None) -> list[float | None]:
    """Hypervolume of all trials that finished no later than each finished one, None for one that is not feasible."""
    values, feasible = history.final.numpy(), history.feasible.numpy()
    point = reference_point(values[feasible], reference)
    best = values[:0]  # the front so far; the hypervolume of all trials so far would take quadratic time
    volumes: list[float | None] = []
    for row, is_feasible in zip(values, feasible, strict=True):
        if is_feasible:
            best = np.vstack([best, row])
            best = best[front(best)]
        volumes.append(hypervolume(best, point) if is_feasible else None)
    return volumes


def _thinned(values: dict[int, Values]) -> dict[int, Values]:
    """The last value and those nearest to a third, a ninth, ... of its step, ordered by step."""
    if len(values) <= _N_STEPS:
        return values
    last = max(values)
    kept = {_nearest(values, last / _STEP_RATIO**k) for k in range(_N_STEPS)}
    return {step: values[step] for step in sorted(kept)}


def _nearest(steps: Iterable[int], target: float) -> int:
    return min(steps, key=lambda step: abs(step - target))


def _scaled(steps: Sequence[float], all_steps: Sequence[int]) -> Tensor:
    """Steps on a logarithmic scale, `n x 1`, from 0 for the study's first step to 1 for its last."""
    shift = 1 - min(all_steps[0], 1)  # steps may start at 0
    low, high = math.log(all_steps[0] + shift), math.log(all_steps[-1] + shift)
    return ((torch.tensor(steps, dtype=torch.float64) + shift).log().unsqueeze(1) - low) / (high - low)


def _matrix(rows: Sequence[Sequence[float]], n_columns: int) -> Tensor:
    return torch.from_numpy(np.array(rows, dtype=np.float64).reshape(len(rows), n_columns))
