import pytest
import torch
from torch import nn

from autokd.testing.toys import relative_gradients, toy_losses, toy_samples


@pytest.mark.parametrize("shape", [(5,), (2, 9), (1, 8, 6)])
def test_samples_are_balanced_and_the_same_every_time(shape: tuple[int, ...]) -> None:
    samples, labels = toy_samples(shape, 4)
    assert samples.shape == (1024, *shape)
    assert labels.bincount().tolist() == [256] * 4
    assert torch.equal(samples, toy_samples(shape, 4)[0])


def test_a_relative_gradient_is_the_norm_of_the_gradient_times_that_of_the_kernel() -> None:
    network, (samples, labels) = nn.Sequential(nn.Linear(5, 4)), toy_samples((5,), 4)
    weight = network[0].weight.detach()
    errors = network(samples).softmax(1) - nn.functional.one_hot(labels, 4)
    gradient = (errors.T @ samples / len(samples)).detach()
    found = relative_gradients(network, samples, labels)
    assert found == {"0.weight": pytest.approx(float(gradient.norm() * weight.norm()), rel=1e-4)}


def test_a_network_learns_the_toy_and_constant_outputs_do_not() -> None:
    samples, labels = toy_samples((5,), 4)
    learnt = toy_losses(nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 4)), samples, labels)
    constant = toy_losses(nn.Sequential(nn.ReLU6(), nn.Threshold(7, 0), nn.Linear(5, 4)), samples, labels)
    assert len(learnt) == len(constant) == 50
    assert learnt[-1] < 0.5 * learnt[0]
    assert constant[-1] > 0.9 * constant[0]
