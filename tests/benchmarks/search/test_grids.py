from itertools import product

import numpy as np
import pytest
from grids import choices, code, order, shape
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

SPACE: dict[str, BaseDistribution] = {
    "merge": CategoricalDistribution(("sum", None)),
    "width": IntDistribution(8, 24, step=8),
    "share": FloatDistribution(0.0, 0.6, step=0.3),
}


@pytest.mark.parametrize("distribution", SPACE.values())
def test_a_code_is_the_index_of_the_choice(distribution: BaseDistribution) -> None:
    values = choices(distribution)
    assert [code(distribution, value) for value in values] == list(range(len(values)))


def test_the_order_is_that_of_the_product_of_the_choices() -> None:
    assert shape(SPACE) == (2, 3, 3)
    points = np.array(list(product(range(2), range(3), range(3))))
    shuffled = np.random.default_rng(0).permutation(points).astype(np.int8)
    assert np.array_equal(shuffled[order(SPACE, shuffled)], points)


def test_a_table_that_lacks_points_is_rejected() -> None:
    with pytest.raises(ValueError, match="must have 18 rows, but has 17"):
        order(SPACE, np.zeros((17, 3), dtype=np.int8))


def test_a_continuum_is_rejected() -> None:
    for function in (choices, lambda distribution: code(distribution, 0.5)):
        with pytest.raises(ValueError, match="finitely many"):
            function(FloatDistribution(0.0, 1.0))
