import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search_spaces.architecture.cost import cost
from search_spaces.design.budget import Budget
from search_spaces.networks.activation_memory import peak_activation_bytes
from search_spaces.networks.network import build
from search_spaces.spaces.nago import Nago

MAP = 4 * 8 * 6 * 6  # bytes of 8 channels of 6 x 6 float32 numbers


class Skip(nn.Module):
    """The sum of its input and two convolutions of it."""

    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.both(x)


class Activated(nn.Module):
    """A number of its input and one of its positive part."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.maximum(x.relu().amax(), x.amin())


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)), 2 * MAP),
        (nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Flatten()), MAP + MAP // 4),
        (nn.Sequential(nn.Conv2d(2, 8, 1), Skip()), 3 * MAP),  # the input of the skip, and two tensors of its branch
        (nn.Sequential(nn.Conv2d(2, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(6)), MAP + MAP // 4),
        (nn.Sequential(nn.Conv2d(2, 8, 1), Activated()), 2 * MAP + 4),  # what is read once more is not written over
        (nn.Conv2d(2, 1, 3, padding=1), MAP // 4 + MAP // 8),  # the network's input counts while it is read
        (nn.Identity(), MAP // 4),
    ],
)
def test_the_peak_of_small_networks_is_what_is_counted_by_hand(module: nn.Module, expected: int) -> None:
    assert peak_activation_bytes(module, torch.zeros(1, 2, 6, 6)) == expected


def test_buffers_that_are_written_and_parameters_that_are_viewed_are_no_activations() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(8, 4))
    assert peak_activation_bytes(network, torch.zeros(1, 8)) == 4 * (8 + 4)


def test_students_need_what_their_cost_says_but_for_the_weights_of_their_merges() -> None:
    space, rng = Nago(top_nodes=3, middle_nodes=1, bottom_nodes=(3, 4)), np.random.default_rng(0)
    for _ in range(50):
        architecture = space.sample(space.random_parameters(rng), Budget(params=2_000), (1, 8, 8), 10, rng)
        weights = 4 * sum(len(node.inputs) for node in architecture.nodes if node.merge == "weighted_sum")
        measured = peak_activation_bytes(build(architecture), torch.zeros(1, 1, 8, 8))
        assert 0 <= measured - cost(architecture).activation_bytes <= weights
