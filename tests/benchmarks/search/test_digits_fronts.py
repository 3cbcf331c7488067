import pytest
from digits_fronts import front_volume


def test_the_volume_is_the_area_above_the_floor_on_a_logarithmic_scale_of_the_cost() -> None:
    assert front_volume([], 0.8, 0.01) == 0
    assert front_volume([(0.8, 0.1), (0.9, 1.0)], 0.8, 0.01) == 0
    assert front_volume([(1.0, 0.001)], 0.8, 0.01) == pytest.approx(1)
    # the upper half of the accuracies from a tenth of the limit on, and the lower half from a hundredth on
    assert front_volume([(1.0, 0.1), (0.9, 0.01), (0.85, 0.5)], 0.8, 0.01) == pytest.approx(0.75)
