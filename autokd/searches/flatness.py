"""Whether what a search chooses matters more than the noise of a trial."""

from collections.abc import Iterable

import numpy as np
import torch

from autokd.optimizers.models.signal_to_noise import MOST_OBSERVATIONS, SignalToNoise, signal_to_noise
from autokd.optimizers.space.conditions import Conditions, parents_of
from autokd.optimizers.space.encoding import Encoding
from autokd.optimizers.space.features import description_of
from autokd.searches.method_choice import METHOD
from autokd.searches.problem import Problem
from autokd.searches.proposals import feature_options
from autokd.searches.trial_record import TrialRecord
from search_spaces.design.choice import SPACE

__all__ = ["MOST_TRIALS", "flatness"]

MOST_TRIALS = MOST_OBSERVATIONS  # of which the first count

FEWEST_TRIALS, FEWEST_STUDENTS = 8, 16  # at the last rung, before anything is said


def flatness(problem: Problem, trial_records: Iterable[TrialRecord]) -> SignalToNoise | None:
    """How much the trials that reached the last rung differ, compared with the noise of a trial.

    The noise of a trial is that of drawing its students from the family and training them, so that of their mean. A
    trial that was pruned does not count, as it was not measured there. None if fewer than 8 trials or 16 students
    reached the last rung, all have the same accuracy, or nothing is searched.

    Args:
        problem: The search.
        trial_records: Its trials.
    """
    complete = [record for record in trial_records if record.trial.state == "complete"]
    if len(complete) < FEWEST_TRIALS or len(complete) * problem.config.students_per_trial < FEWEST_STUDENTS:
        return None
    encoding = Encoding.of({name: each for name, each in problem.distributions.items() if not each.single()})
    points = torch.tensor([encoding.encode(record.trial.parameters) for record in complete], dtype=torch.float64)
    values = np.array([record.accuracies(problem.last_rung) for record in complete])
    conditions = Conditions(encoding, parents_of(problem.dimensions))
    options = feature_options(problem)
    description = description_of(options["features"], options["described"], encoding)
    return signal_to_noise(points, values, conditions, description, (SPACE, METHOD))
