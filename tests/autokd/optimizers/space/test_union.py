from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import create_trial

from autokd.optimizers.space.union import union

X = FloatDistribution(0, 1)
N = IntDistribution(1, 4)


def trial(**parameters):
    return create_trial(
        value=0.0,
        params={name: value for name, (value, _) in parameters.items()},
        distributions={name: distribution for name, (_, distribution) in parameters.items()},
    )


def test_conditional_parameters_are_kept() -> None:
    trials = [trial(x=(0.5, X)), trial(n=(2, N))]
    assert union(trials) == {"n": N, "x": X}
    assert union(trials) == union(trials[::-1])
    assert union([]) == {}


def test_parameters_with_one_value_are_omitted() -> None:
    assert union([trial(x=(1, IntDistribution(1, 1)))]) == {}


def test_bounds_that_changed_become_the_widest() -> None:
    trials = [
        trial(x=(0.5, X), n=(3, N)),
        trial(x=(2.0, FloatDistribution(0.5, 2)), n=(7, IntDistribution(3, 9))),
    ]
    assert union(trials) == {"n": IntDistribution(1, 9), "x": FloatDistribution(0, 2)}


def test_parameters_that_changed_their_kind_are_omitted() -> None:
    pairs = [
        (X, FloatDistribution(0.1, 1, log=True)),
        (X, FloatDistribution(0, 1, step=0.5)),
        (N, IntDistribution(1, 4, log=True)),
        (X, N),
        (CategoricalDistribution((1, 2)), CategoricalDistribution((1, 2, 3))),
    ]
    for first, second in pairs:
        assert union([trial(p=(1, first)), trial(p=(1, second))]) == {}
