import pytest

from autokd.testing.spaces import SpaceConformance
from search_spaces.budget import Budget
from search_spaces.nago import Nago
from search_spaces.randwire import RandWire
from search_spaces.space import Space


class TestNago(SpaceConformance):
    @pytest.fixture
    def space(self) -> Space:
        return Nago()


class TestNagoOnDigits(SpaceConformance):
    input_shape = (1, 8, 8)
    budget = Budget(params=50_000, activation_bytes=200_000)

    @pytest.fixture
    def space(self) -> Space:
        return Nago(operation="relu_sepconv3x3_bn", top_nodes=(3, 6), middle_nodes=(1, 3), bottom_nodes=(3, 6))


class TestRandWire(SpaceConformance):
    input_shape = (3, 32, 32)

    @pytest.fixture
    def space(self) -> Space:
        return RandWire()


class TestRandWireRegular(SpaceConformance):
    input_shape = (3, 64, 64)
    budget = Budget(params=300_000, macs=100_000_000)
    draws = 30

    @pytest.fixture
    def space(self) -> Space:
        return RandWire(regime="regular", nodes=20)
