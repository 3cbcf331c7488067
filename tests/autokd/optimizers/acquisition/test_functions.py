from dataclasses import replace

from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from autokd.optimizers.acquisition.functions import _MAX_PENDING, _Improvement, acquisition_function
from autokd.optimizers.history import History
from autokd.optimizers.space.encoding import Encoding

SPACE: dict[str, BaseDistribution] = {"n": IntDistribution(0, 9)}


def trial(n, values):
    """A trial that reports at steps 1 and 2, or is pruned if it has only one value."""
    steps = dict(enumerate(values, start=1))
    final = {"value": values[-1]} if len(values) == 2 else {"state": TrialState.PRUNED}
    return create_trial(params={"n": n}, distributions=SPACE, intermediate_values=steps, **final)


def test_only_points_that_were_not_pruned_are_observed_again() -> None:
    encoding = Encoding.of(SPACE)
    trials = [trial(0, (0.1, 0.2)), trial(3, (0.5, 0.7)), trial(4, (0.4,)), trial(9, (0.2, 0.4)), trial(3, (0.45,))]
    history = History.of(trials, encoding, [1.0])
    again, values = acquisition_function(
        history, encoding.categories, number=0, repeats=True, reference=None
    ).repeated()
    assert sorted(encoding.decode(codes)["n"] for codes in again.tolist()) == [0, 9]
    assert len(values) == 2


def test_where_a_history_is_a_part_only_pending_points_near_the_best_one_condition_the_model() -> None:
    space: dict[str, BaseDistribution] = {"x": IntDistribution(0, 999)}
    encoding = Encoding.of(space)
    ended = [create_trial(params={"x": x}, distributions=space, value=float(x)) for x in (100, 500, 300)]
    running = [create_trial(state=TrialState.RUNNING, params={"x": x}, distributions=space) for x in range(600, 1000)]
    history = History.of([*ended, *running], encoding, [1.0])
    for is_part, expected in ((False, range(600, 1000)), (True, range(600, 600 + _MAX_PENDING))):
        shown = replace(history, is_part=is_part)
        function = acquisition_function(shown, encoding.categories, number=0, repeats=True, reference=None)
        assert isinstance(function, _Improvement)
        codes = function.conditioned.process.seen[len(ended) :]
        assert [encoding.decode(row)["x"] for row in codes.tolist()] == list(expected)
