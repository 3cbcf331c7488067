"""The values that a trial reports at its steps, of one objective or of several."""

from optuna.trial import FrozenTrial

__all__ = ["REPORTS", "Values", "reports"]

REPORTS = "autokd:reports"
"""System attribute of a trial of several objectives: the values of all of them by step.

Optuna has intermediate values in studies of one objective only, and some of its samplers refuse others that have them.
"""

Values = tuple[float, ...]
"""One value for each objective, or none at all."""


def reports(trial: FrozenTrial) -> dict[int, Values]:
    """The values of all objectives at each step at which the trial reported."""
    several = trial.system_attrs.get(REPORTS)
    if several is None:
        return {step: (value,) for step, value in trial.intermediate_values.items()}
    return {int(step): tuple(values) for step, values in several.items()}  # JSON has text for keys
