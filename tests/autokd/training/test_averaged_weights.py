import pytest
import torch
from torch import nn

from autokd.training.averaged_weights import Average

DECAY = 0.5


def test_the_average_is_that_of_a_loop_with_numbers() -> None:
    network = nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(4.0)
    average, expected = Average(network, DECAY), 4.0
    for step in range(1, 20):
        weight = float(step * step)
        network.weight.data.fill_(weight)
        average.update(step)
        decay = min(DECAY, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight
    assert average.tensors["weight"].item() == pytest.approx(expected, rel=1e-6)


def test_running_statistics_are_averaged_and_counters_are_not() -> None:
    network = nn.BatchNorm1d(2)
    average = Average(network, DECAY)
    network(torch.tensor([[10.0, 20.0], [30.0, 40.0]]))
    average.update(1)
    decay = 2 / 11
    assert average.tensors["running_mean"].tolist() == pytest.approx([2.0 * (1 - decay), 3.0 * (1 - decay)])
    assert "num_batches_tracked" not in average.tensors


def test_a_network_has_the_average_in_the_context_and_its_own_weights_after_it() -> None:
    network = nn.Linear(2, 2)
    average = Average(network, DECAY)
    own = [parameter.detach().clone().add_(1) for parameter in network.parameters()]
    for parameter, value in zip(network.parameters(), own, strict=True):
        parameter.data.copy_(value)
    with average.in_place():
        assert torch.equal(network.weight, average.tensors["weight"])
        assert not torch.equal(network.weight, own[0])
    assert all(torch.equal(parameter, value) for parameter, value in zip(network.parameters(), own, strict=True))


def test_without_decay_the_average_is_the_weights() -> None:
    network = nn.Linear(2, 2)
    average = Average(network, 0.0)
    network.weight.data.uniform_()
    average.update(5)
    assert torch.equal(average.tensors["weight"], network.weight)
