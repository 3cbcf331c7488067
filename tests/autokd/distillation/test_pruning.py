import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autokd.distillation.pruning import (
    is_prunable,
    mask_zeros,
    prune_globally,
    prune_iteratively,
    remaining_widths,
    remove_masks,
)
from autokd.errors import InputError


def counted(*shape: int, start: int = 1) -> Tensor:
    """Consecutive integers from `start` on, with alternating signs."""
    n = math.prod(shape)
    return (torch.arange(start, start + n) * (-1) ** torch.arange(n)).reshape(shape).float()


def two_layers() -> nn.Sequential:
    """Two layers with weights of magnitudes 1 to 8 and 9 to 20."""
    network = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))
    network[0].weight.data = counted(4, 2)
    network[3].weight.data = counted(3, 4, start=9)
    return network


def sizes(network: nn.Sequential) -> list[float]:
    """Magnitudes of the remaining weights."""
    weights = torch.cat([network[0].weight.flatten(), network[3].weight.flatten()])
    return sorted(weights[weights != 0].abs().tolist())


def keep(layer: nn.Module, n: int) -> None:
    """Set the weights of a layer to `n` ones and zeros."""
    weight: Any = layer.weight
    weight.data = (torch.arange(weight.numel()) < n).float().reshape(weight.shape)


def trained(network: nn.Module, steps: int = 3) -> None:
    optimiser = torch.optim.SGD(network.parameters(), 1e-4, momentum=0.9, weight_decay=0.1)
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    for _ in range(steps):
        optimiser.zero_grad()
        network(x).square().mean().backward()
        optimiser.step()


def test_the_smallest_weights_of_all_layers_are_pruned() -> None:
    network = two_layers()
    prune_globally(network, 0.5)
    assert sizes(network) == list(range(11, 21))
    assert network[0].weight.count_nonzero() == 0


def test_weights_of_any_memory_format_are_pruned() -> None:
    plain, channels_last = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
    channels_last.load_state_dict(plain.state_dict())
    channels_last.to(memory_format=torch.channels_last)
    for network in (plain, channels_last):
        prune_iteratively(network, lambda network: None, 2)
    assert torch.equal(plain.weight, channels_last.weight)
    assert plain.weight.count_nonzero() == 108 - 22 - 17


def test_a_second_round_prunes_its_share_of_the_rest() -> None:
    network = two_layers()
    prune_globally(network, 0.2)
    assert sizes(network) == list(range(5, 21))  # 20 - 4
    prune_globally(network, 0.25)
    assert sizes(network) == list(range(9, 21))  # 16 - 4
    prune_globally(network, 0.25)
    assert sizes(network) == list(range(12, 21))  # 12 - 3


def test_a_second_round_uses_the_weights_after_the_last_step() -> None:
    network = two_layers()
    prune_globally(network, 0.2)
    with torch.no_grad():
        network[3].weight_orig[2, 3] = 0.5  # was the largest; no forward call after it
    prune_globally(network, 1 / 16)
    assert sizes(network) == list(range(5, 20))


def test_biases_and_batch_normalisation_are_not_pruned() -> None:
    network = two_layers()
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    prune_globally(network, 0.9)
    remove_masks(network)
    for name, value in network.state_dict().items():
        assert name in ("0.weight", "3.weight") or torch.equal(value, kept[name])


def test_training_keeps_zeros_and_moves_the_others() -> None:
    network = two_layers()
    prune_globally(network, 0.5)
    zeros, before = [network[i].weight == 0 for i in (0, 3)], network[3].weight.detach().clone()
    trained(network)
    network(torch.zeros(2, 2))
    for layer, pruned in zip((network[0], network[3]), zeros, strict=True):
        assert torch.equal(layer.weight == 0, pruned)  # type: ignore[arg-type]
    assert not torch.equal(network[3].weight, before)  # type: ignore[arg-type]


def test_attention_trains_with_masks() -> None:
    attention = nn.MultiheadAttention(4, 2)
    layers = nn.ModuleList([attention, nn.Linear(4, 2)])
    prune_globally(layers, 0.5)
    for _ in range(2):
        layers[1](attention(*[torch.randn(3, 1, 4)] * 3)[0]).sum().backward()
    remove_masks(layers)
    assert (attention.out_proj.weight != 0).all()  # read without a call, so that no mask could be applied
    assert layers[1].weight.count_nonzero() == 4


def test_a_layer_whose_weight_is_computed_is_left_as_it_is() -> None:
    network = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 4)), nn.Linear(4, 2))
    prune_globally(network, 0.5)
    trained(network)
    remove_masks(network)
    assert (network[0].weight != 0).all()
    assert network[1].weight.count_nonzero() == 4


def test_a_network_without_its_masks_computes_the_same() -> None:
    network = two_layers().eval()
    names = set(network.state_dict())
    prune_globally(network, 0.3)
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    expected = network(x)
    remove_masks(network)
    assert torch.equal(network(x), expected)
    assert torch.equal(copy.deepcopy(network)(x), expected)
    assert set(network.state_dict()) == names
    assert all(isinstance(network[i].weight, nn.Parameter) for i in (0, 3))
    remove_masks(network)
    assert torch.equal(network(x), expected)


def test_rounds_prune_then_retrain() -> None:
    network = two_layers()
    found = []

    def retrain(pruned: nn.Module) -> None:
        found.append(len(sizes(pruned)))  # type: ignore[arg-type]
        trained(pruned)

    prune_iteratively(network, retrain, rounds=3)
    assert found == [16, 13, 10]  # of 20: less 4, less round(3.2), less round(2.6)
    assert len(sizes(network)) == 10
    assert not any("mask" in name for name in network.state_dict())


def test_remaining_weights_keep_their_values_between_rounds() -> None:
    network = two_layers()
    prune_iteratively(network, lambda pruned: None, rounds=2, share=0.25)
    assert sizes(network) == list(range(10, 21))  # 20 - 5 - round(3.75)


def chain() -> nn.Sequential:
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.Conv2d(16, 16, 1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(16 * 4, 20), nn.Linear(20, 5))


def test_widths_of_a_chain_are_those_computed_by_hand() -> None:
    network = chain()
    for index, remaining in ((0, 100), (2, 150), (3, 9), (5, 50), (6, 17)):
        keep(network[index], remaining)
    # 100 / (9 * 3) = 3.7; 150 / (9 * 4) = 4.17; 9 / (1 * 4) = 2.25; 50 / (4 positions * 2) = 6.25; 5 classes
    assert remaining_widths(network) == {"0": 4, "2": 4, "3": 2, "5": 6, "6": 5}


def test_widths_of_an_unpruned_chain_are_its_own() -> None:
    network = chain()
    for index in (0, 2, 3, 5, 6):
        keep(network[index], network[index].weight.numel())
    assert remaining_widths(network) == {"0": 8, "2": 16, "3": 16, "5": 20, "6": 5}


def test_widths_are_the_same_with_masks_and_without() -> None:
    network = chain()
    prune_globally(network, 0.6)
    widths = remaining_widths(network)
    remove_masks(network)
    assert remaining_widths(network) == widths
    assert sum(widths.values()) < 8 + 16 + 16 + 20 + 5


def test_a_layer_without_weights_keeps_one_channel() -> None:
    network = nn.Sequential(nn.Conv1d(2, 6, 3), nn.Conv1d(6, 6, 3), nn.Conv1d(6, 4, 1))
    keep(network[0], 0)
    keep(network[1], 10)
    assert remaining_widths(network) == {"0": 1, "1": 3, "2": 4}  # 10 / (3 * 1) = 3.3


def test_a_shortcut_has_the_inputs_of_its_block() -> None:
    layers = {"stem": nn.Conv2d(3, 4, 1), "conv1": nn.Conv2d(4, 8, 3), "conv2": nn.Conv2d(8, 8, 3)}
    network = nn.ModuleDict(layers | {"shortcut": nn.Conv2d(4, 8, 1), "head": nn.Linear(8, 3)})
    for name, remaining in (("stem", 6), ("conv1", 54), ("conv2", 81), ("shortcut", 10)):
        keep(network[name], remaining)
    # 6 / 3; 54 / (9 * 2); 81 / (9 * 3); 10 / 2, where 2 is the stem's
    assert remaining_widths(network) == {"stem": 2, "conv1": 3, "conv2": 3, "shortcut": 5, "head": 3}


def test_groups_become_fewer_not_narrower() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1))
    keep(network[0], 12)
    keep(network[1], 36)
    assert remaining_widths(network) == {"0": 4, "1": 4, "2": 4}


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_a_share_of_none_or_all_is_rejected(share: float) -> None:
    with pytest.raises(InputError, match="`0 < share < 1` must hold, but got share="):
        prune_globally(two_layers(), share)


def test_a_network_without_prunable_layers_is_rejected() -> None:
    with pytest.raises(InputError, match="Sequential has no convolution or linear layer"):
        prune_globally(nn.Sequential(nn.ReLU()), 0.2)


def test_no_rounds_are_rejected() -> None:
    with pytest.raises(InputError, match="`rounds >= 1` must hold, but got rounds=0"):
        prune_iteratively(two_layers(), trained, rounds=0)


def test_masked_zeros_are_pruned_already() -> None:
    once, again = two_layers(), two_layers()
    prune_iteratively(once, lambda network: None, 3)
    for _ in range(3):
        mask_zeros(again)
        prune_globally(again, 0.2)
        remove_masks(again)
    assert sizes(again) == sizes(once)
    assert not is_prunable(nn.ReLU())
