import numpy as np
import pytest
import torch
from optuna.distributions import IntDistribution

from autokd.optimizers import OptimizerError
from autokd.optimizers.encoding import Encoding
from autokd.optimizers.features import Features, described, no_features

ENCODING = Encoding.of({"a": IntDistribution(0, 9), "b": IntDistribution(0, 9)})


def points(*pairs):
    return torch.tensor([ENCODING.encode({"a": a, "b": b}) for a, b in pairs], dtype=torch.float64)


def test_features_of_parameters_are_features_of_codes():
    describe = described(lambda params: (params["a"] - params["b"], 7), ENCODING)
    assert describe(points((5, 2), (0, 9))).tolist() == [[3, 7], [-9, 7]]


def test_a_point_is_asked_for_once():
    asked = []

    def features(params):
        asked.append(params)
        return [params["a"]]

    describe = described(features, ENCODING)
    assert describe(points((1, 2), (1, 2), (3, 4))).tolist() == describe(points((1, 2), (1, 2), (3, 4))).tolist()
    assert asked == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]


@pytest.mark.parametrize(
    ("features", "problem"),
    [
        (lambda params: [1.0] * params["a"], r"must be 1 finite numbers, but are \[1.0, 1.0\] for {'a': 2, 'b': 0}"),
        (lambda params: [1.0, 2.0 / (2 - params["a"]) if params["a"] < 2 else float("nan")], r"2 finite.*nan"),
    ],
)
def test_what_is_not_as_many_finite_numbers_is_an_error(features, problem):
    with pytest.raises(OptimizerError, match=problem):
        described(features, ENCODING)(points((1, 0), (2, 0)))


def test_the_scale_is_that_of_the_observed_points():
    describe = described(lambda params: [params["a"], params["b"]], ENCODING)
    features = Features.of(describe, points((2, 5), (6, 5)))
    np.testing.assert_allclose(features(points((2, 5), (4, 6), (8, 3))), [[0, 0], [0.5, 1], [1.5, -2]])
    assert features(points((2, 5))[:0]).shape == (0, 2)


def test_where_nothing_is_known_there_are_none():
    features = Features.of(no_features, points((2, 5)))
    assert features.number == 0
    assert features(points((1, 1), (2, 2))).shape == (2, 0)
