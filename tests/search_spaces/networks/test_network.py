import copy
import pickle
import weakref

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search_spaces.architecture.format import Architecture, Node
from search_spaces.architecture.memory import last_uses
from search_spaces.design.budget import Budget
from search_spaces.errors import SpaceError
from search_spaces.networks.network import build
from search_spaces.spaces.nago import Nago

DIAMOND = Architecture(
    (2, 6, 6),
    3,
    (
        Node("input", (), 2, name="image"),
        Node("conv3x3_bn", (0,), 4, name="left"),
        Node("conv1x1_bn", (0,), 4, name="right"),
        Node("relu_conv3x3_bn", (1, 2), 4, merge="weighted_sum", name="gated"),
        Node("identity", (1, 3), 4, merge="mean", name="middle"),
        Node("identity", (2, 3, 4), 4, merge="sum", name="total"),
        Node("classifier", (5,), 3, name="classifier"),
    ),
)


def nago(seed: int, size: int = 28) -> Architecture:
    space = Nago(top_nodes=(3, 5), middle_nodes=(1, 3), bottom_nodes=(3, 5))
    rng = np.random.default_rng(seed)
    return space.sample(space.random_parameters(rng), Budget(params=40_000), (1, size, size), 10, rng)


def images(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_the_network_computes_what_the_nodes_describe() -> None:
    network = build(DIAMOND).eval()
    network.merge_weights.data = torch.tensor([0.3, -1.2])
    x = images(2, 2, 6, 6)
    left, right = network.left(x), network.right(x)
    gated = network.gated(torch.sigmoid(torch.tensor(0.3)) * left + torch.sigmoid(torch.tensor(-1.2)) * right)
    middle = torch.stack([left, gated]).mean(0)
    total = right + gated + middle
    expected = network.classifier[4](torch.relu(total).mean((2, 3)))
    torch.testing.assert_close(network(x), expected)


def test_merging_does_not_change_its_inputs() -> None:
    network = build(DIAMOND).eval()
    kept: list[tuple[Tensor, Tensor]] = []
    for module in network.children():
        module.register_forward_hook(lambda module, args, result: kept.append((result, result.clone())))
    with torch.no_grad():
        network(images(1, 2, 6, 6))
    assert all(torch.equal(result, copied) for result, copied in kept)


def test_the_same_seed_gives_the_same_weights_and_keeps_the_global_random_state() -> None:
    before = torch.get_rng_state()
    one, same, other = build(DIAMOND, 1), build(DIAMOND, 1), build(DIAMOND, 2)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), same.state_dict().values(), strict=True))
    assert not torch.equal(one.left[0].weight, other.left[0].weight)


def test_device_and_dtype_are_arguments() -> None:
    assert {parameter.dtype for parameter in build(DIAMOND, dtype=torch.float64).parameters()} == {torch.float64}
    assert build(DIAMOND, device="cpu").merge_weights.device.type == "cpu"


def test_names_are_those_of_the_nodes() -> None:
    assert [name for name, _ in build(DIAMOND).named_children()] == list(DIAMOND.names[1:])
    with pytest.raises(SpaceError, match=r"must not be an attribute of .*'half'"):
        build(Architecture((1, 2, 2), 2, (Node("input", (), 1), Node("classifier", (0,), 2, name="half"))))


def test_a_network_without_merge_weights_has_no_such_parameter() -> None:
    plain = Architecture((1, 2, 2), 2, (Node("input", (), 1), Node("classifier", (0,), 2)))
    assert "merge_weights" not in build(plain).state_dict()


def test_copies_and_pickles_are_independent_networks() -> None:
    network = build(DIAMOND, 1).eval()
    x = images(1, 2, 6, 6)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(twin(x), network(x))
        twin.left[0].weight.data.zero_()
        assert not torch.equal(twin(x), network(x))


def test_a_replaced_module_is_used() -> None:
    network = build(DIAMOND, 1).eval()
    x = images(1, 2, 6, 6)
    before = network(x)
    network.left = nn.Sequential(network.left, nn.Identity())  # type: ignore[arg-type]
    assert torch.equal(network(x), before)
    network.left = nn.Conv2d(2, 4, 1)
    assert not torch.equal(network(x), before)


@pytest.mark.parametrize("seed", range(3))
def test_a_tensor_lives_from_its_node_to_its_last_use(seed: int) -> None:
    architecture = nago(seed)
    network = build(architecture).eval()
    outputs: list[weakref.ref[Tensor]] = []
    alive_before: list[set[int]] = []

    def before(module: nn.Module, args: object) -> None:
        alive_before.append({number for number, output in enumerate(outputs, 1) if output() is not None})

    def after(module: nn.Module, args: object, result: Tensor) -> None:
        outputs.append(weakref.ref(result))

    for module in network.children():
        module.register_forward_pre_hook(before)
        module.register_forward_hook(after)
    with torch.inference_mode():
        network(images(1, *architecture.input_shape))
    expected: set[int] = set()
    dying = last_uses([node.inputs for node in architecture.nodes])
    for number, node in enumerate(architecture.nodes[1:], 1):
        expected -= set(dying[number])
        entering = set(node.inputs) - {0} if len(node.inputs) == 1 else set()
        assert alive_before[number - 1] == expected | entering
        expected.add(number)


@pytest.mark.parametrize("size", [8, 28])
def test_it_trains_under_autocast_and_channels_last(size: int) -> None:
    network = build(nago(0, size)).to(memory_format=torch.channels_last)
    x = images(4, 1, size, size).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        loss = network(x).float().logsumexp(1).mean()
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


def test_gradients_of_merge_weights_equal_those_of_the_plain_formula() -> None:
    network = build(DIAMOND, dtype=torch.float64).eval()
    x = images(1, 2, 6, 6).double()

    def output(weights: Tensor) -> Tensor:
        return torch.func.functional_call(network, {"merge_weights": weights}, x)

    assert torch.autograd.gradcheck(output, network.merge_weights.detach().clone().requires_grad_())


@pytest.mark.slow  # torch.export traces the network for several seconds
def test_a_network_can_be_exported() -> None:
    network = build(nago(0)).eval()
    x = images(2, 1, 28, 28)
    assert torch.equal(torch.export.export(network, (x,)).module()(x), network(x))


SIGNAL = Architecture(
    (3, 9),
    2,
    (
        Node("input", (), 3, name="signal"),
        Node("conv3x3_bn", (0,), 4, name="conv"),
        Node("global_gate", (1,), 4, name="gate"),
        Node("identity", (1, 2), 4, merge="product", name="scaled"),
        Node("identity", (3, 1), 8, merge="concat", name="joined"),
        Node("vector", (4,), 72, name="flat"),
        Node("conv3x3_bn", (5,), 5, name="matrix"),
        Node("classifier", (6,), 2, name="classifier"),
    ),
)


def test_signals_vectors_products_and_concatenations_run_as_the_nodes_describe() -> None:
    network = build(SIGNAL).eval()
    x = images(2, 3, 9)
    found = network.conv(x)
    gate = network.gate(found)
    assert gate.shape == (2, 4, 1)
    joined = torch.cat([found * gate, found], 1).flatten(1)
    matrix = network.matrix[1](joined @ network.matrix[0].weight.T)
    torch.testing.assert_close(network(x), network.classifier[2](torch.relu(matrix)))
