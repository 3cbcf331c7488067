import pytest
import torch
from torch import nn

from autokd.recipes.teachers import fashion_mnist
from autokd.testing.spaces import SpaceConformance
from search_spaces.design.budget import Budget
from search_spaces.design.choice import SpaceChoice
from search_spaces.design.space import Space
from search_spaces.networks.traced import trace
from search_spaces.spaces.blocks import Blocks
from search_spaces.spaces.darts import Darts
from search_spaces.spaces.enas_macro import EnasMacro
from search_spaces.spaces.enas_micro import EnasMicro
from search_spaces.spaces.like_teacher import LikeTeacher
from search_spaces.spaces.nago import Nago
from search_spaces.spaces.nasbench101 import NasBench101
from search_spaces.spaces.nasbench201 import NasBench201
from search_spaces.spaces.networkx_graphs import NetworkxGraphs
from search_spaces.spaces.randwire import RandWire
from search_spaces.spaces.sequential import Sequential


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


class TestNagoAdvanced(SpaceConformance):
    draws = 24

    @pytest.fixture
    def space(self) -> Space:
        return Nago(
            operation=("relu_conv3x3_bn", "mixed"),
            merge=("weighted_sum", "sum", "concat", "attention", "mixed"),
            stage2_start=(0.2, 0.5),
            stage3_start=(0.5, 0.8),
            stage2_width=(1.0, 3.0),
            stage3_width=(1.0, 6.0),
            top_nodes=(3, 6),
            middle_nodes=(1, 3),
        )


class TestSequential(SpaceConformance):
    input_shape = (3, 60)
    draws = 40

    @pytest.fixture
    def space(self) -> Space:
        return Sequential()


class TestSequentialOnVectors(SpaceConformance):
    input_shape = (30,)
    budget = Budget(params=40_000)
    draws = 40

    @pytest.fixture
    def space(self) -> Space:
        return Sequential(top_nodes=(3, 5), middle_nodes=(1, 3), bottom_nodes=(3, 5))


class TestSequentialOnImages(SpaceConformance):
    input_shape = (1, 8, 8)
    budget = Budget(memory_bytes=300_000)
    draws = 24

    @pytest.fixture
    def space(self) -> Space:
        return Sequential(view="vector", top_nodes=(3, 5), middle_nodes=(1, 3))


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


class TestNetworkxGraphs(SpaceConformance):
    draws = 30

    @pytest.fixture
    def space(self) -> Space:
        return NetworkxGraphs(nodes=16)


class TestBlocks(SpaceConformance):
    input_shape = (3, 32, 32)
    draws = 40

    @pytest.fixture
    def space(self) -> Space:
        return Blocks()


class TestBlocksAtFixedWidthWhereNotAllNetworksFit(SpaceConformance):
    input_shape = (1, 8, 8)
    budget = Budget(params=80_000)
    draws = 20

    @pytest.fixture
    def space(self) -> Space:
        return Blocks(width=4)


class TestLikeTeacher(SpaceConformance):
    draws = 20

    @pytest.fixture
    def space(self) -> Space:
        return LikeTeacher().with_teacher(trace(fashion_mnist(), torch.randn(2, 1, 28, 28)).architecture)


class TestLikeTeacherOfVectors(SpaceConformance):
    input_shape = (30,)
    budget = Budget(params=20_000)
    draws = 20

    @pytest.fixture
    def space(self) -> Space:
        layers = nn.Linear(30, 200), nn.BatchNorm1d(200), nn.ReLU(), nn.Linear(200, 100), nn.ReLU(), nn.Linear(100, 10)
        return LikeTeacher().with_teacher(trace(nn.Sequential(*layers), torch.randn(2, 30)).architecture)


class TestDarts(SpaceConformance):
    input_shape = (3, 32, 32)
    draws = 20

    @pytest.fixture
    def space(self) -> Space:
        return Darts()


class TestDartsAtFixedWidthWhereNotAllCellsFit(SpaceConformance):
    input_shape = (1, 8, 8)
    budget = Budget(params=15_200)  # about three pairs of cells in ten do not fit
    draws = 8

    @pytest.fixture
    def space(self) -> Space:
        return Darts(cells=4, width=4)


class TestEnasMacro(SpaceConformance):
    draws = 20

    @pytest.fixture
    def space(self) -> Space:
        return EnasMacro()


class TestEnasMacroAtFixedWidthWhereNotAllNetworksFit(SpaceConformance):
    input_shape = (1, 8, 8)
    budget = Budget(params=12_100, activation_bytes=4_500)  # about one network in four does not fit
    draws = 8

    @pytest.fixture
    def space(self) -> Space:
        return EnasMacro(width=4, layers=(3, 6))


class TestEnasMicro(SpaceConformance):
    draws = 20

    @pytest.fixture
    def space(self) -> Space:
        return EnasMicro()


class TestEnasMicroAtFixedWidthWhereNotAllCellsFit(SpaceConformance):
    input_shape = (1, 8, 8)
    budget = Budget(params=17_800)  # about one pair of cells in five does not fit
    draws = 8

    @pytest.fixture
    def space(self) -> Space:
        return EnasMicro(cells=4, width=4)


class TestNasBench101(SpaceConformance):
    draws = 20

    @pytest.fixture
    def space(self) -> Space:
        return NasBench101()


class TestNasBench101AtFixedWidthWhereNotAllCellsFit(SpaceConformance):
    input_shape = (1, 8, 8)
    budget = Budget(params=2_000)  # about a quarter of the cells do not fit
    draws = 20

    @pytest.fixture
    def space(self) -> Space:
        return NasBench101(stacks=2, modules=1, width=8)


class TestNasBench201(SpaceConformance):
    input_shape = (3, 32, 32)
    draws = 20

    @pytest.fixture
    def space(self) -> Space:
        return NasBench201()


class TestNasBench201ToTheLetterWhereNotAllCellsFit(SpaceConformance):
    input_shape = (1, 8, 8)
    budget = Budget(params=30_000)  # about half of the cells do not fit
    draws = 20
    dead = True

    @pytest.fixture
    def space(self) -> Space:
        return NasBench201(cells=1, width=8, pruned=False)


class TestSpaceChoice(SpaceConformance):
    input_shape = (1, 8, 8)
    budget = Budget(params=50_000)
    draws = 12

    @pytest.fixture
    def space(self) -> Space:
        nago = Nago(top_nodes=(3, 4), middle_nodes=(1, 2), bottom_nodes=(3, 4))
        return SpaceChoice({"nago": nago, "blocks": Blocks()})
