import numpy as np
import pytest
import torch
from torch import nn

from search_spaces.architecture.format import Architecture
from search_spaces.design.budget import Budget
from search_spaces.errors import SpaceError
from search_spaces.networks.network import build
from search_spaces.spaces.nago import Nago
from search_spaces.spaces.sequential import Sequential


def sample(space: Nago, seed: int, shape: tuple[int, ...]) -> Architecture:
    rng = np.random.default_rng(seed)
    return space.sample(space.random_parameters(rng), Budget(params=30_000), shape, 5, rng)


def shapes_of_stages(architecture: Architecture) -> list[tuple[int, ...]]:
    sizes = {
        node.stage: architecture.shapes()[i][1:] for i, node in enumerate(architecture.nodes) if "_node" in node.name
    }
    return [sizes[stage] for stage in sorted(sizes)]


@pytest.mark.parametrize(
    ("shape", "view", "lengths"),
    [
        ((3, 30), "series", [(30,), (15,), (8,)]),
        ((3, 100), "series", [(25,), (13,), (7,)]),
        ((1, 28, 28), "series", [(196,), (98,), (49,)]),
        ((1, 28, 28), "vector", [(), (), ()]),
        ((3, 30), "vector", [(), (), ()]),
        ((11,), "series", [(), (), ()]),
        ((11,), "vector", [(), (), ()]),
    ],
)
def test_a_sample_is_read_as_a_signal_or_a_vector(
    shape: tuple[int, ...], view: str, lengths: list[tuple[int, ...]]
) -> None:
    assert shapes_of_stages(sample(Sequential(view=view), 0, shape)) == lengths


def test_pixels_enter_row_by_row() -> None:
    images = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    network = build(sample(Sequential(), 0, (3, 4, 5)))
    assert network.get_submodule("series")(images).equal(images.reshape(2, 3, 20))
    network = build(sample(Sequential(view="vector"), 0, (3, 4, 5)))
    assert network.get_submodule("vector")(images).equal(images.reshape(2, 60))


def test_on_a_signal_it_draws_the_same_as_nago() -> None:
    assert sample(Sequential(), 3, (2, 40)).digest == sample(Nago(), 3, (2, 40)).digest


def test_networks_on_vectors_have_only_linear_layers_and_batch_norm() -> None:
    network = build(sample(Sequential(), 1, (20,)))
    leaves = [module for module in network.modules() if not list(module.children())]
    allowed = (nn.ReLU, nn.Linear, nn.BatchNorm1d, nn.Identity, nn.Dropout)
    assert all(isinstance(module, allowed) for module in leaves)


@pytest.mark.parametrize("shape", [(3, 30), (20,), (1, 8, 8)])
def test_its_networks_learn_to_distinguish_two_samples(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = build(sample(Sequential(top_nodes=3, middle_nodes=1, bottom_nodes=(3, 4)), 2, shape))
    samples, labels = torch.randn(8, *shape), torch.arange(8) % 2
    optimizer = torch.optim.AdamW(network.parameters(), 0.01)
    losses = []
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(network(samples), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_an_unknown_view_is_rejected() -> None:
    with pytest.raises(SpaceError, match="series or vector, but got 'image'"):
        Sequential(view="image")
