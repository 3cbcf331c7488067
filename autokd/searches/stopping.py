"""What is known of a search's winner, what further trials would gain, and whether these are worth their time."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autokd.searches.problem import Problem
from autokd.searches.proposals import feature_options
from autokd.searches.study import to_study
from autokd.searches.tables import counted, percent
from autokd.searches.trial_record import TrialRecord

if TYPE_CHECKING:
    from autokd.optimizers.gain import Gain
    from autokd.searches.families import Family

__all__ = ["EVERY", "Outlook", "further_gain", "is_enough", "outlook"]

FIRST, EVERY = 20, 10  # ended trials at which it is estimated whether to stop
MOST = 400  # trials of which the model is shown all then; its fit takes time cubic in their number


@dataclass(frozen=True)
class Outlook:
    """What the model of a search believes of its winner, and of further trials.

    Attributes:
        trial: Number of the trial whose family `train` would draw from.
        probability_best: Posterior probability that it is the best of the families tried.
        low: One more student of it, trained as long, exceeds this validation accuracy with a probability of 95 %.
        high: It stays below this with the same probability.
        epochs: Length of that training.
        gain: What 20 more trials would gain, in accuracy; None with several objectives.
        is_enough: Whether that was less than `stop.gain` when it was last asked, so that no further trial begins.
    """

    trial: int
    probability_best: float
    low: float
    high: float
    epochs: float
    gain: "Gain | None"
    is_enough: bool

    @property
    def facts(self) -> list[tuple[str, str]]:
        """A word and a sentence on the winner, and on further trials."""
        winner = (
            f"trial {self.trial}, the best family tried with probability {self.probability_best:.2f}; a student of it "
            f"has {percent(self.low)} to {percent(self.high)} after {counted(self.epochs, 'epoch')} (90 %)"
        )
        return [("winner", winner), *([("further", _gain(self.gain))] if self.gain else [])]


def outlook(
    problem: Problem,
    trial_records: Collection[TrialRecord],
    families: Sequence["Family"],
    is_enough: bool = False,
) -> Outlook | None:
    """What the model believes of the winner and of further trials; None without a family.

    Args:
        problem: The search.
        trial_records: Its trials, or of very many those that decide.
        families: Its families, the best first.
        is_enough: What `is_enough` says of all its trials.
    """
    from autokd.searches.families import winner  # loads the model

    best = winner(families)
    if best is None or best.low is None or best.high is None:
        return None
    gain = None if problem.costs else further_gain(problem, trial_records)
    return Outlook(
        trial=best.trial,
        probability_best=best.probability_best,
        low=best.low,
        high=best.high,
        epochs=problem.rungs[best.rung],
        gain=gain,
        is_enough=is_enough,
    )


def further_gain(problem: Problem, trial_records: Collection[TrialRecord]) -> "Gain | None":
    """What 20 more trials would gain in accuracy over the winner of these; None if none of these has a value.

    Args:
        problem: The search, of one objective.
        trial_records: Some of its trials, by number.
    """
    from autokd.optimizers.gain import gain  # loads the model

    rungs = [max(one.values) if one.values and one.trial.state != "failed" else -1 for one in trial_records]
    highest = max(rungs, default=-1)
    if highest < 0:
        return None
    chosen = [place for place, rung in enumerate(rungs) if rung == highest]
    study = to_study(trial_records, problem.distributions)
    options = feature_options(problem) | {"conditions": problem.conditions}
    return gain(study, problem.distributions, chosen, ceiling=1.0, **options)


def is_enough(problem: Problem, trial_records: Collection[TrialRecord]) -> bool:
    """Whether 20 more trials would gain less than `stop.gain`, so that no new one should begin.

    Of n ended trials the first `10 floor(n / 10)` decide, from 20 on: so it does not matter how far running ones are,
    and a resumed search decides as it did before.

    Args:
        problem: The search.
        trial_records: Its trials.
    """
    least, ended = problem.config.stop.gain, [one for one in trial_records if one.trial.finish_order is not None]
    n = len(ended) // EVERY * EVERY
    if not least or n < FIRST:
        return False
    first = sorted(ended, key=lambda one: one.trial.finish_order or 0)[:n]
    if n > MOST:  # the best, and the newest
        best = sorted(first, key=lambda one: -one.best_value)[: MOST // 2]
        first = list({one.trial.number: one for one in (*best, *first[-MOST // 2 :])}.values())
    gain = further_gain(problem, sorted(first, key=lambda one: one.trial.number))
    return gain is not None and 100 * gain.most < least


def _gain(gain: "Gain") -> str:
    return f"{gain.trials} more trials would gain less than {100 * gain.most:.2f} points (90 %)"
