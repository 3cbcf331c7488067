from typing import Any

import numpy as np
import pytest
import torch
from optuna.distributions import IntDistribution

from autokd.optimizers import OptimizerError
from autokd.optimizers.space.encoding import Encoding
from autokd.optimizers.space.features import NO_FEATURES, Features, description_of

ENCODING = Encoding.of({"a": IntDistribution(0, 9), "b": IntDistribution(0, 9)})


def points(*pairs):
    return torch.tensor([ENCODING.encode({"a": a, "b": b}) for a, b in pairs], dtype=torch.float64)


def test_features_of_parameters_are_features_of_codes() -> None:
    description = description_of(lambda params: (params["a"] - params["b"], 7), None, ENCODING)
    assert description.features(points((5, 2), (0, 9))).tolist() == [[3, 7], [-9, 7]]


def test_features_are_computed_once_for_each_point() -> None:
    asked = []

    def features(params):
        asked.append(params)
        return [params["a"]]

    description = description_of(features, None, ENCODING)
    for _ in range(2):
        assert description.features(points((1, 2), (1, 2), (3, 4))).tolist() == [[1], [1], [3]]
    assert asked == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]


@pytest.mark.parametrize(
    ("features", "problem"),
    [
        (lambda params: [1.0] * params["a"], r"must be 1 finite numbers, but got \[1.0, 1.0\] for {'a': 2, 'b': 0}"),
        (lambda params: [1.0, 2.0 / (2 - params["a"]) if params["a"] < 2 else float("nan")], r"2 finite.*nan"),
    ],
)
def test_features_of_another_number_or_that_are_not_finite_are_an_error(features, problem) -> None:
    with pytest.raises(OptimizerError, match=problem):
        description_of(features, None, ENCODING).features(points((1, 0), (2, 0)))


def test_features_are_scaled_over_the_observed_points() -> None:
    description = description_of(lambda params: [params["a"], params["b"]], None, ENCODING)
    features = Features.of(description, points((2, 5), (6, 5)))
    found: Any = features(points((2, 5), (4, 6), (8, 3)))
    np.testing.assert_allclose(found, np.array([[0, 0], [0.5, 1], [1.5, -2]]))
    assert features(points((2, 5))[:0]).shape == (0, 2)


def test_no_features_have_no_columns() -> None:
    features = Features.of(NO_FEATURES, points((2, 5)))
    assert features.number == 0
    assert features(points((1, 1), (2, 2))).shape == (2, 0)


def test_features_describe_all_parameters_or_the_named_ones() -> None:
    assert description_of(lambda params: [0], None, ENCODING).coordinates == {0, 1}
    assert description_of(lambda params: [0], ["b", "c"], ENCODING).coordinates == {1}
    assert NO_FEATURES.coordinates == set()
