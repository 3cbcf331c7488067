import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from autokd.optimizers.earlier import FEWEST_EARLIER, EarlierStudy, EarlierTask
from autokd.optimizers.errors import OptimizerError
from autokd.optimizers.space.encoding import Encoding

ENCODING = Encoding.of({"merge": CategoricalDistribution(("sum", "max")), "width": IntDistribution(1, 8)})


def study(*points, direction="maximize"):
    """A study whose values are 0, 1, ..., with distributions of its own."""
    made = optuna.create_study(direction=direction)
    for value, params in enumerate(points):
        distributions = {name: _wide(each) for name, each in params.items()}
        made.add_trial(create_trial(params=params, distributions=distributions, value=float(value)))
    return made


def _wide(value):
    if isinstance(value, str):
        return CategoricalDistribution(("sum", "max", "gate"))
    return IntDistribution(0, 100) if isinstance(value, int) else FloatDistribution(0, 1)


def task(*points, direction="maximize"):
    return EarlierTask.of(EarlierStudy.of(study(*points, direction=direction)), ENCODING, 1)


FIVE = [{"width": width, "merge": "max"} for width in range(1, FEWEST_EARLIER + 1)]


def test_trials_with_a_value_that_is_not_legal_here_do_not_count() -> None:
    found = task(*FIVE, {"width": 9, "merge": "sum"}, {"width": 2, "merge": "gate"})
    assert found is not None
    assert found.history.finished.tolist() == [ENCODING.encode(params) for params in FIVE]


def test_a_task_knows_nothing_of_what_only_trials_that_do_not_count_have() -> None:
    found = task(*({"width": params["width"]} for params in FIVE), {"width": 9, "merge": "sum"})
    assert found is not None
    assert found.known.tolist() == [False, True]


def test_too_few_trials_are_no_task() -> None:
    assert task(*FIVE[1:], {"width": 9, "merge": "sum"}) is None


def test_a_task_cannot_tell_points_apart_by_what_it_does_not_know() -> None:
    found = task(*({"width": params["width"], "rate": 0.5} for params in FIVE))
    assert found is not None
    first, second, other = (
        torch.tensor([ENCODING.encode({"width": width, "merge": merge})], dtype=torch.float64)
        for width, merge in ((3, "sum"), (3, "max"), (4, "max"))
    )
    assert torch.equal(found.seen_from_here(first), found.seen_from_here(second))
    assert not torch.equal(found.seen_from_here(second), found.seen_from_here(other))
    filled = found.filled(other[0])
    assert [ENCODING.decode(row)["merge"] for row in filled.tolist()] == ["max"] * FEWEST_EARLIER
    assert [ENCODING.decode(row)["width"] for row in filled.tolist()] == [params["width"] for params in FIVE]


def test_larger_is_better_whatever_the_direction_was() -> None:
    found = task(*FIVE, direction="minimize")
    assert found is not None
    assert found.history.Y[:, 0].tolist() == [0.0, -1.0, -2.0, -3.0, -4.0]


def test_running_trials_are_not_part_of_an_earlier_study() -> None:
    earlier = study(*FIVE)
    earlier.ask({"width": IntDistribution(1, 8)})
    assert [trial.state for trial in EarlierStudy.of(earlier).trials] == [TrialState.COMPLETE] * FEWEST_EARLIER


def test_an_earlier_study_must_have_as_many_objectives() -> None:
    two = optuna.create_study(directions=["maximize", "minimize"])
    with pytest.raises(OptimizerError, match="must have 1 objectives as this one, but one has 2"):
        EarlierTask.of(EarlierStudy.of(two), ENCODING, 1)
