import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from autokd.optimizers.changes import TrialChanges


def trials_of(states: str) -> list[FrozenTrial]:
    """A trial for each letter: `r` for a running one, else one that ended."""
    running, ended = TrialState.RUNNING, TrialState.COMPLETE
    return [create_trial(state=running) if state == "r" else create_trial(state=ended, value=0.0) for state in states]


def test_a_look_gives_what_has_changed_since_the_last_one() -> None:
    first, known = trials_of("rerr"), TrialChanges()
    assert known.take(first) == first
    assert known.take(first) == []
    later = [*trials_of("e"), first[1], *trials_of("r"), first[3], *trials_of("er")]
    assert known.take(later) == [later[0], later[2], later[4], later[5]]
    assert known.take(later) == []


def test_those_that_have_not_ended_are_known_in_order() -> None:
    first, known = trials_of("rerr"), TrialChanges()
    known.take(first)
    assert known.running == [first[0], first[2], first[3]]
    later = [*trials_of("r"), first[1], *trials_of("e"), first[3], *trials_of("er")]
    known.take(later)
    assert known.running == [later[0], later[3], later[5]]


@pytest.mark.parametrize("others", ["ere", "er", "eree"])
def test_trials_of_which_a_known_one_is_gone_are_not_taken(others: str) -> None:
    trials, known = trials_of("ere"), TrialChanges()
    known.take(trials)
    assert known.take(trials_of(others)) is None
    assert known.take(trials) == []


def test_a_look_takes_no_longer_the_more_trials_have_ended() -> None:
    class Counted(list[FrozenTrial]):
        n_read = 0

        def __getitem__(self, place):
            self.n_read += 1
            return super().__getitem__(place)

    trials, known = Counted(trials_of("e" * 500 + "r")), TrialChanges()
    known.take(trials)
    trials.n_read = 0
    known.take(trials)
    assert trials.n_read < 5
