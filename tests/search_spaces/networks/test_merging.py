import warnings
import weakref
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from search_spaces.architecture.format import Architecture, Node
from search_spaces.networks import network as networks
from search_spaces.networks.kernels import bindings
from search_spaces.networks.kernels.library import Kernels, load
from search_spaces.networks.merging import concatenated, gathered, mean, product, spread, summed, weighted_sum
from search_spaces.networks.network import Network, build

FORMATS = (torch.contiguous_format, torch.channels_last)
SHAPE = (2, 5, 3, 7)  # sizes that are not multiples of a vector register

TANGLE = Architecture(
    (3, 9, 9),
    4,
    (
        Node("input", (), 3, name="image"),
        Node("conv3x3_bn", (0,), 5, name="a"),
        Node("conv1x1_bn", (0,), 5, name="b"),
        Node("relu_sepconv3x3_bn", (1, 2), 5, merge="weighted_sum", name="c"),
        Node("relu_conv3x3_bn", (2, 1, 3), 5, merge="weighted_sum", name="d"),
        Node("maxpool3x3", (1,), 5, name="e"),
        Node("identity", (3, 4, 1), 5, merge="mean", name="f"),
        Node("relu_conv1x1_bn", (6, 5), 5, merge="sum", name="g"),
        Node("relu_conv1x1_bn", (7, 6, 4), 5, merge="weighted_sum", name="h"),
        Node("classifier", (8,), 4, name="classifier"),
    ),
)


def tensors(n: int, *shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).to(dtype) for _ in range(n)]


Merge = Callable[..., Tensor]


def tangle(x: Tensor, y: Tensor, gates: Sequence[Tensor], merge: Merge, copies: Callable[..., list[Tensor]]) -> Tensor:
    """A sum of x and y, a sum of it and both again, and a reader of x without a gate."""
    x1, x2, x3 = copies(x, [gates[0], gates[2], None])
    y1, y2 = copies(y, [gates[1], gates[3]])
    first = torch.sin(merge(gates[:2], x1, y1))
    (first1,) = copies(first, [gates[4]])
    return merge(gates[2:5], x2, y2, first1) * torch.cos(x3)


def plainly(tensor: Tensor, gates: Sequence[Tensor | None]) -> list[Tensor]:
    return [tensor] * len(gates)


def both_ways(x: Tensor, y: Tensor, gates: Tensor) -> tuple[Tensor, Tensor]:
    fast = tangle(x, y, gates.unbind(), gathered, spread)
    return fast, tangle(x, y, gates.unbind(), weighted_sum, plainly)


def test_plain_merges_compute_what_their_names_say() -> None:
    a, b, c = tensors(3, *SHAPE, dtype=torch.float64)
    stacked = torch.stack([a, b, c])
    torch.testing.assert_close(summed(a, b, c), stacked.sum(0))
    torch.testing.assert_close(mean(a, b, c), stacked.mean(0))
    gates = torch.tensor([0.2, -1.5, 3.0], dtype=torch.float64)
    torch.testing.assert_close(weighted_sum(gates.unbind(), a, b, c), torch.einsum("i,i...->...", gates, stacked))
    assert torch.equal(concatenated(a, b)[:, 5:], b)
    assert torch.equal(product(a, b[:, :, :1, :1]), a * b[:, :, :1, :1])


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_gathered_is_as_accurate_as_weighted_sum(dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    inputs = [x.to(memory_format=memory_format) for x in tensors(4, *SHAPE, dtype=dtype)]
    gates = torch.tensor([0.3, 0.9, -0.1, 0.5]).unbind()
    copies = [spread(x, [gate])[0] for x, gate in zip(inputs, gates, strict=True)]
    merged = gathered(gates, *copies)
    exact = weighted_sum(tuple(gate.double() for gate in gates), *[x.double() for x in inputs])
    error, plain = (float((y - exact).norm()) for y in (merged, weighted_sum(gates, *inputs)))
    assert error <= 1.01 * plain
    assert merged.dtype == dtype
    assert merged.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_gradients_equal_those_of_plain_functions(memory_format: torch.memory_format) -> None:
    x, y = (t.to(memory_format=memory_format).requires_grad_() for t in tensors(2, *SHAPE, dtype=torch.float64))
    gates = torch.linspace(-1, 2, 5, dtype=torch.float64, requires_grad=True)
    fast, plain = both_ways(x, y, gates)
    assert torch.equal(fast, plain)
    arriving = tensors(1, *SHAPE, seed=1, dtype=torch.float64)[0].to(memory_format=memory_format)
    found = torch.autograd.grad(fast, (x, y, gates), arriving)
    wanted = torch.autograd.grad(plain, (x, y, gates), arriving)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert found[0].is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_in_16_bit_formats_are_as_accurate_as_those_of_plain_functions(dtype: torch.dtype) -> None:
    """Both are compared with float64, since they add in different orders."""
    exact = [t.requires_grad_() for t in tensors(2, 8, 16, 6, 6, dtype=dtype)]
    gates = torch.linspace(0.1, 0.9, 5, requires_grad=True)
    errors: list[float] = []
    double = [t.detach().double().requires_grad_() for t in (*exact, gates)]
    wanted = torch.autograd.grad(both_ways(double[0], double[1], double[2])[1].sum(), double)
    for output in both_ways(exact[0], exact[1], gates):
        found = torch.autograd.grad(output.sum(), (*exact, gates))
        pairs = zip(found, wanted, strict=True)
        errors.append(max(float((a.double() - b).norm() / b.norm()) for a, b in pairs))
    fast, plain = errors
    assert fast <= max(1.5 * plain, 4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_first_and_second_derivatives_equal_finite_differences(memory_format: torch.memory_format) -> None:
    x, y = (t.to(memory_format=memory_format).requires_grad_() for t in tensors(2, 1, 2, 2, 3, dtype=torch.float64))
    gates = torch.linspace(-1, 2, 5, dtype=torch.float64, requires_grad=True)

    def fast(x: Tensor, y: Tensor, gates: Tensor) -> Tensor:
        return both_ways(x, y, gates)[0]

    assert torch.autograd.gradcheck(fast, (x, y, gates))
    assert torch.autograd.gradgradcheck(fast, (x, y, gates))


def test_the_backward_pass_does_not_change_its_gradient_and_can_be_repeated() -> None:
    x, y = (t.requires_grad_() for t in tensors(2, *SHAPE))
    gates = torch.rand(2, requires_grad=True)
    a, b = gates.unbind()
    first, second = spread(x, [a, None]), spread(y, [b])
    merged = gathered((a, b), first[0], second[0]) + first[1]
    (arriving,) = tensors(1, *SHAPE, seed=1)
    kept = arriving.clone()
    once = torch.autograd.grad(merged, (x, y, gates), arriving, retain_graph=True)
    twice = torch.autograd.grad(merged, (x, y, gates), arriving)
    assert torch.equal(arriving, kept)
    assert all(torch.equal(one, other) for one, other in zip(once, twice, strict=True))


def test_a_reader_that_does_not_reach_the_loss_contributes_no_gradient() -> None:
    (x,) = (t.requires_grad_() for t in tensors(1, *SHAPE))
    a, b = (torch.tensor(value, requires_grad=True) for value in (0.5, 0.25))
    copies = spread(x, [a, b, None])
    gathered((b,), copies[1]).sum().backward()
    assert torch.equal(x.grad, torch.full(SHAPE, 0.25))  # type: ignore[arg-type]
    assert a.grad is None
    torch.testing.assert_close(b.grad, x.detach().sum())


def test_frozen_tensors_and_frozen_gates_get_no_gradient() -> None:
    x, y = tensors(2, *SHAPE)
    y.requires_grad_()
    trained, frozen = torch.tensor(0.5, requires_grad=True), torch.tensor(0.25)
    merged = gathered((trained, frozen), spread(x, [trained])[0], spread(y, [frozen])[0])
    merged.sum().backward()
    assert x.grad is None
    assert frozen.grad is None
    torch.testing.assert_close(trained.grad, x.sum())
    assert torch.equal(y.grad, torch.full(SHAPE, 0.25))  # type: ignore[arg-type]


def test_tensors_of_two_dtypes_get_gradients_of_their_dtypes() -> None:
    x, y = tensors(1, *SHAPE)[0].requires_grad_(), tensors(1, *SHAPE, dtype=torch.bfloat16)[0].requires_grad_()
    gates = torch.tensor([0.5, 0.25], requires_grad=True)
    a, b = gates.unbind()
    gathered((a, b), spread(x, [a])[0], spread(y, [b])[0]).sum().backward()
    assert torch.equal(x.grad, torch.full(SHAPE, 0.5))  # type: ignore[arg-type]
    assert torch.equal(y.grad, torch.full(SHAPE, 0.25, dtype=torch.bfloat16))  # type: ignore[arg-type]
    torch.testing.assert_close(gates.grad, torch.stack([x.detach().sum(), y.detach().float().sum()]), rtol=0.01, atol=0)


def plain_network(network: Network, monkeypatch: pytest.MonkeyPatch) -> Callable[[Tensor], Tensor]:
    """The network with the plain functions, which is what a compiler sees."""

    def run(image: Tensor) -> Tensor:
        with monkeypatch.context() as patch:
            patch.setattr(networks, "is_traced", lambda: True)
            return network(image)

    return run


def built(dtype: torch.dtype = torch.float32) -> tuple[Network, Tensor]:
    network = build(TANGLE, dtype=dtype).to(memory_format=torch.channels_last)
    network.get_submodule("classifier.3").p = 0.0  # dropout would differ from call to call
    with torch.no_grad():
        network.merge_weights.copy_(torch.linspace(-2, 2, len(network.merge_weights)))
    return network, tensors(1, 4, 3, 9, 9, dtype=dtype)[0].to(memory_format=torch.channels_last)


def test_a_network_has_the_same_gradients_with_plain_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    network, image = built(torch.float64)
    image.requires_grad_()
    wanted_of = [image, *network.parameters()]
    found = torch.autograd.grad(network(image).square().sum(), wanted_of)
    wanted = torch.autograd.grad(plain_network(network, monkeypatch)(image).square().sum(), wanted_of)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_network_computes_the_same_with_and_without_gradients(precision: torch.dtype) -> None:
    network, image = built()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        learning = network(image)
        with torch.no_grad():
            looking = network(image)
        with torch.inference_mode():
            inferring = network(image)
    assert learning.grad_fn is not None
    closeness = 4 * torch.finfo(precision).eps
    torch.testing.assert_close(learning, looking, rtol=closeness, atol=closeness)
    assert torch.equal(looking, inferring)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_network_has_close_gradients_with_and_without_kernels(
    precision: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are compared with float64; the kernels may not be less accurate than the operations of torch."""
    network, image = built()
    wide, image64 = built(torch.float64)
    wanted = torch.autograd.grad(wide(image64).square().sum(), list(wide.parameters()))
    exact = torch.cat([gradient.flatten() for gradient in wanted])
    errors: list[float] = []
    for found in (load(), Kernels(None, "left out")):
        monkeypatch.setattr(bindings, "load", lambda found=found: found)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            output = network(image)
        gradients = torch.autograd.grad(output.float().square().sum(), list(network.parameters()))
        errors.append(float((torch.cat([g.flatten() for g in gradients]).double() - exact).norm() / exact.norm()))
    with_kernels, without = errors
    assert with_kernels <= 2 * without


def test_a_network_keeps_no_more_memory_for_its_gradients_than_with_plain_functions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, image = built()
    fast, plain = _kept_bytes(network, image), _kept_bytes(plain_network(network, monkeypatch), image)
    assert 0 < fast <= plain


def _kept_bytes(run: Callable[[Tensor], Tensor], image: Tensor) -> int:
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = run(image)
    assert output.requires_grad
    return sum(kept.values())


def test_a_relu_overwrites_the_result_of_its_merge_and_nothing_else() -> None:
    network, image = built()
    network.eval()
    pairs: list[tuple[Tensor, Tensor]] = []
    for child in network.children():
        if isinstance(child, nn.Sequential) and isinstance(child[0], nn.ReLU):
            child[0].register_forward_hook(lambda module, args, result: pairs.append((args[0], result)))
    network(image)
    own = [entering.data_ptr() == result.data_ptr() for entering, result in pairs]
    assert own == [True, True, True, True, False]  # the classifier reads the output of one node


def test_a_merging_node_alone_does_not_overwrite_a_leaf_that_requires_a_gradient() -> None:
    network, _ = built()
    (leaf,) = (t.requires_grad_() for t in tensors(1, 4, 5, 9, 9))
    kept = leaf.detach().clone()
    network.get_submodule("d")(leaf).sum().backward()
    assert torch.equal(leaf, kept)
    assert leaf.grad is not None


def test_the_input_of_a_node_is_freed_before_the_next_node_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    network, image = built()
    entered: list[weakref.ref[Tensor]] = []
    for child in network.children():
        child.register_forward_pre_hook(lambda module, args: entered.append(weakref.ref(args[0])))
    alive: list[list[bool]] = []

    def watching(gates: tuple[Tensor, ...], *merged: Tensor) -> Tensor:
        alive.append([entering() is not None for entering in entered])
        return weighted_sum(gates, *merged)

    monkeypatch.setattr(networks, "weighted_sum", watching)
    with torch.inference_mode():
        network(image)
    before_h = dict(zip(TANGLE.names[1:], alive[-1], strict=False))
    assert not before_h["c"]
    assert not before_h["g"]  # this node ran just before


def test_backward_hooks_of_nodes_get_the_whole_gradient_of_their_output(monkeypatch: pytest.MonkeyPatch) -> None:
    network, image = built(torch.float64)

    def gradients(run: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        seen: dict[str, Tensor] = {}
        handles = []
        for name, child in network.named_children():

            def hook(module: nn.Module, entering: object, leaving: tuple[Tensor, ...], name: str = name) -> None:
                seen[name] = leaving[0]

            handles.append(child.register_full_backward_hook(hook))
        with warnings.catch_warnings():  # a node that reads the image has no gradient for its input
            warnings.filterwarnings("ignore", "Full backward hook is firing")
            run(image).square().sum().backward()
        for handle in handles:
            handle.remove()
        return seen

    fast, plain = gradients(network), gradients(plain_network(network, monkeypatch))
    assert list(fast) == list(plain)
    assert len(fast) == len(TANGLE.nodes) - 1
    for name in fast:
        torch.testing.assert_close(fast[name], plain[name], rtol=1e-12, atol=1e-12)


def test_functional_gradients_of_a_network_equal_those_of_autograd() -> None:
    network, image = built(torch.float64)
    network.eval()
    weights = network.merge_weights

    def loss(weights: Tensor) -> Tensor:
        return torch.func.functional_call(network, {"merge_weights": weights}, image).square().sum()

    (wanted,) = torch.autograd.grad(network(image).square().sum(), weights)
    torch.testing.assert_close(torch.func.grad(loss)(weights.detach()), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.slow  # compiling the network takes several seconds
def test_a_compiler_accepts_the_whole_network_and_computes_the_same() -> None:
    network, image = built()
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    output = compiled(image)
    torch.testing.assert_close(output, network(image))
    found = torch.autograd.grad(output.square().sum(), network.merge_weights)
    wanted = torch.autograd.grad(network(image).square().sum(), network.merge_weights)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
