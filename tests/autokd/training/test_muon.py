import itertools
from math import sqrt

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from autokd.distillation.pruning import prune_globally
from autokd.training.loop import TrainingSettings, optimiser
from autokd.training.muon import orthogonalised, scale_free_kernels
from search_spaces.design.budget import Budget
from search_spaces.design.registry import space
from search_spaces.networks.network import build
from search_spaces.spaces.blocks import MOBILENETV2

RATE, DECAY, MOMENTUM = 0.05, 0.1, 0.9


def network(seed: int = 0) -> nn.Sequential:
    """A network with one hidden kernel in a convolution, and two of the same shape in linear layers."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        hidden = (
            nn.Conv2d(2, 6, 3, bias=False),
            nn.Flatten(),
            nn.Linear(6, 6, bias=False),
            nn.Linear(6, 6, bias=False),
        )
        return nn.Sequential(*hidden, nn.BatchNorm1d(6), nn.Linear(6, 3)).double()


def gradients(model: nn.Module, step: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(each.shape, generator=generator, dtype=each.dtype) for each in model.parameters()]


def exactly_orthogonal(matrix: Tensor) -> Tensor:
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    return left @ right


@pytest.mark.parametrize("shape", [(5, 5), (4, 40), (30, 6), (3, 8, 2)])
def test_orthogonalised_matrices_keep_their_singular_vectors_and_lose_their_singular_values(shape) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrices, full_matrices=False)
    found = left.mT @ orthogonalised(matrices) @ right.mT
    values_found = found.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(found, torch.diag_embed(values_found), rtol=0, atol=1e-9)
    clear = values > 0.02 * torch.linalg.matrix_norm(matrices)[..., None]
    assert clear.any()
    assert ((values_found[clear] - 1).abs() < 0.35).all()


def test_a_gradient_of_zeros_moves_nothing() -> None:
    assert not orthogonalised(torch.zeros(2, 3, 4)).any()


def test_the_size_of_a_gradient_does_not_matter() -> None:
    matrix = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(orthogonalised(1e-12 * matrix), orthogonalised(1e6 * matrix))


def test_kernels_move_by_orthogonal_momentum_and_a_decoupled_decay_and_all_else_by_sgd() -> None:
    """Against a plain loop with exact singular value decompositions, and PyTorch's SGD."""
    model, other = network(), network()
    kernels = {name for name, weight in model.named_parameters() if weight in scale_free_kernels(model)}
    assert kernels == {"0.weight", "2.weight", "3.weight"}
    settings = TrainingSettings(RATE, DECAY, MOMENTUM, optimizer="muon")
    ours = optimiser(settings, model)
    rest = [(name, each) for name, each in other.named_parameters() if name not in kernels]
    groups = [{"params": [each], "weight_decay": DECAY * (each.ndim > 1)} for _, each in rest]
    sgd = SGD(groups, lr=RATE, momentum=MOMENTUM, nesterov=True)
    expected = {name: weight.detach().clone() for name, weight in model.named_parameters() if name in kernels}
    momentum = {name: torch.zeros_like(weight).flatten(1) for name, weight in expected.items()}
    for step in range(3):
        for model_, optimiser_ in ((model, ours), (other, sgd)):
            for each, gradient in zip(model_.parameters(), gradients(model_, step), strict=True):
                each.grad = gradient
            if model_ is model:
                for name, weight in expected.items():
                    gradient = model.get_parameter(name).grad.flatten(1)
                    momentum[name] = MOMENTUM * momentum[name] + gradient
                    direction = exactly_orthogonal(gradient + MOMENTUM * momentum[name])
                    scale = sqrt(max(1.0, direction.shape[0] / direction.shape[1]))
                    expected[name] = (1 - RATE * DECAY) * weight - RATE * scale * direction.view_as(weight)
            optimiser_.step()
    for name, each in rest:
        torch.testing.assert_close(model.get_parameter(name), each)
    for name, weight in expected.items():  # singular values differ by at most a third from 1, in each of three steps
        found, start = model.get_parameter(name).detach(), network().get_parameter(name).detach()
        assert (found - weight).norm() < 0.25 * (weight - start).norm()


def test_kernels_of_the_same_shape_move_as_if_each_were_alone() -> None:
    """All kernels of a shape are orthogonalised in one call."""
    together, alone = network(), network()
    moved = optimiser(TrainingSettings(RATE, DECAY, MOMENTUM, optimizer="muon"), together)
    each_alone = [
        optimiser(TrainingSettings(RATE, DECAY, MOMENTUM, optimizer="muon"), part)
        for part in (alone[0], alone[2], alone[3])
    ]
    for step in range(2):
        for model in (together, alone):
            for each, gradient in zip(model.parameters(), gradients(model, step), strict=True):
                each.grad = gradient
        for one in (moved, *each_alone):
            one.step()
    for index in (0, 2, 3):
        torch.testing.assert_close(together[index].weight, alone[index].weight)


@pytest.mark.parametrize("block", ["mbconv", "attention", "convnext"])
def test_kernels_without_batch_norm_and_filters_on_one_channel_are_left_to_sgd(block: str) -> None:
    network = MOBILENETV2 | {f"stage{stage}_block": block for stage in (3, 4)} | {"stage4_squeeze": 1}
    blocks = space("blocks", head_ratio=0, **network)
    architecture = blocks.sample(blocks.complete({}), Budget(params=20_000), (1, 16, 16), 10, np.random.default_rng(0))
    student = build(architecture)
    chosen = scale_free_kernels(student)
    assert chosen
    parts = [part for part in student.modules() if isinstance(part, nn.Sequential)]
    followed = {
        before.weight
        for part in parts
        for before, after in itertools.pairwise(part)
        if isinstance(after, nn.BatchNorm2d) and isinstance(before, nn.Conv2d)
    }
    assert chosen == {weight for weight in followed if weight.shape[1] > 1}
    assert len(followed) > len(chosen)


def test_a_pruned_network_is_trained_by_the_parameters_of_its_masked_weights() -> None:
    dense, pruned = network(), network()
    prune_globally(pruned, 0.2)
    chosen = {dict(dense.named_parameters())[name] for name in ("2.weight", "3.weight")} | {dense[0].weight}
    assert scale_free_kernels(dense) == chosen
    masked = dict(pruned.named_parameters())
    assert scale_free_kernels(pruned) == {masked[f"{index}.weight_orig"] for index in (0, 2, 3)}
