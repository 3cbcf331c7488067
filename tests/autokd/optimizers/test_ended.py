import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from autokd.optimizers.ended import EndedTrials


def trials_of(states: str) -> list[FrozenTrial]:
    """A trial for each letter: `r` for a running one, else one that ended."""
    running, ended = TrialState.RUNNING, TrialState.COMPLETE
    return [create_trial(state=running) if state == "r" else create_trial(state=ended, value=0.0) for state in states]


def test_a_look_gives_what_has_ended_since_the_last_one_and_all_that_has_not() -> None:
    trials, known = trials_of("rere"), EndedTrials()
    assert known.take(trials) == ([trials[1], trials[3]], [trials[0], trials[2]])
    assert known.take(trials) == ([], [trials[0], trials[2]])
    later = [trials_of("e")[0], *trials[1:], *trials_of("er")]
    assert known.take(later) == ([later[0], later[4]], [later[2], later[5]])


@pytest.mark.parametrize("others", ["ere", "er", "eree"])
def test_trials_of_which_a_known_one_is_gone_are_not_taken(others: str) -> None:
    trials, known = trials_of("ere"), EndedTrials()
    known.take(trials)
    assert known.take(trials_of(others)) is None
    assert known.take(trials) == ([], [trials[1]])


def test_a_look_takes_no_longer_the_more_trials_have_ended() -> None:
    class Counted(list[FrozenTrial]):
        n_read = 0

        def __getitem__(self, place):
            self.n_read += 1
            return super().__getitem__(place)

    trials, known = Counted(trials_of("e" * 500 + "r")), EndedTrials()
    known.take(trials)
    trials.n_read = 0
    known.take(trials)
    assert trials.n_read < 5
