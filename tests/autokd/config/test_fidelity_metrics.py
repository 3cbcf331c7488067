import pytest

from autokd.config.fidelity_metrics import FIDELITY_METRICS
from autokd.config.parsing import parse_config
from autokd.config.schema import OptimizerConfig
from autokd.errors import InputError


@pytest.mark.parametrize("name", FIDELITY_METRICS)
def test_the_better_of_two_trials_has_the_larger_value_by_every_signal(name: str):
    better = {
        "accuracy": 0.9,
        "agreement": 0.9,
        "loss": 0.2,
        "teacher_kl": 0.1,
        "training_loss": 0.3,
        "training_cross_entropy": 0.3,
    }
    worse = {
        "accuracy": 0.8,
        "agreement": 0.8,
        "loss": 0.4,
        "teacher_kl": 0.2,
        "training_loss": 0.5,
        "training_cross_entropy": 0.5,
    }
    metric = FIDELITY_METRICS[name]
    assert metric.oriented({0: better[name]})[0] > metric.oriented({0: worse[name]})[0]


def test_metrics_are_known_by_their_names():
    assert all(name == metric.name for name, metric in FIDELITY_METRICS.items())


def test_an_unknown_metric_is_refused_with_those_that_are_known(make_problem):
    values = make_problem().config.to_dict() | {"optimizer": {"signal": "los"}}
    with pytest.raises(InputError, match=r"optimizer\.signal: must be one of accuracy, loss, .*but got 'los'"):
        parse_config(values)
    assert OptimizerConfig().signal == "training_cross_entropy"
