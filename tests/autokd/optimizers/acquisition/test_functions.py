from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from autokd.optimizers.acquisition.functions import acquisition_function
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
