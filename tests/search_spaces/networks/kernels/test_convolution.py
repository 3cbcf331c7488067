import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces.networks.kernels import bindings, convolution
from search_spaces.networks.kernels.convolution import Conv2d
from search_spaces.networks.kernels.library import Kernels

MOST, SIDE = 12, 32
SHAPES = [
    *[(3, channels, channels, 28, 28) for channels in range(1, MOST + 1)],  # batch, inputs, outputs, height, width
    *[(2, 5, 7, 6, side) for side in range(1, SIDE + 1)],
    *[(2, 12, 1, side, 14) for side in (1, 2, 3, 13, 32)],
    (1, 1, 12, 32, 32),
    (2, 12, 12, 7, 15),
]


@pytest.fixture(autouse=True)
def convolutions(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "has_amx", lambda: False)
    if bindings.convolution_limits() != (MOST, SIDE):
        pytest.skip("this processor has no instructions for them")


@pytest.fixture(autouse=True)
def half() -> Iterator[None]:
    with torch.autocast("cpu", torch.bfloat16):
        yield


def images(shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return values.to(dtype).to(memory_format=torch.channels_last)


def layer(inputs: int, outputs: int, **changes: Any) -> Conv2d:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return Conv2d(inputs, outputs, **({"kernel_size": 3, "padding": 1, "bias": False} | changes))


def torchs(of: Conv2d) -> nn.Conv2d:
    """The convolution of torch with the same weights."""
    sizes: dict[str, Any] = {"kernel_size": of.kernel_size, "stride": of.stride, "padding": of.padding}
    found = nn.Conv2d(of.in_channels, of.out_channels, bias=of.bias is not None, **sizes)
    found.load_state_dict(of.state_dict())
    return found


def results(convolution: nn.Conv2d, x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Output, and gradients of x and the weights."""
    x = x.detach().clone().requires_grad_()
    y = convolution(x)
    return y.detach(), *torch.autograd.grad(y, (x, convolution.weight), gradient)


def exactly(of: Conv2d, x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same results by torch in float64, with the weights rounded to bfloat16."""
    wide = torchs(of).double()
    wide.weight.data = of.weight.detach().bfloat16().double()
    with torch.autocast("cpu", enabled=False):
        return results(wide, x.double(), gradient.double())


def is_ours(y: Tensor) -> bool:
    return "_Convolved" in type(y.grad_fn).__name__


def assert_close(found: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> None:
    """Compare outputs and gradients of x in bfloat16, and gradients of weights in float32."""
    for one, other, dtype in zip(found, wanted, (torch.bfloat16, torch.bfloat16, torch.float32), strict=True):
        assert one.dtype == dtype
        relative = torch.finfo(dtype).eps / 2 * 1.01 if dtype == torch.bfloat16 else 1e-4
        torch.testing.assert_close(one.double(), other, rtol=relative, atol=2e-5 * float(other.abs().max()))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_equals_torch_in_float64_rounded_once(shape: tuple[int, ...]) -> None:
    batch, inputs, outputs, height, width = shape
    ours = layer(inputs, outputs)
    x, gradient = images((batch, inputs, height, width)), images((batch, outputs, height, width), 1)
    assert is_ours(ours(x))
    found = results(ours, x, gradient)
    assert_close(found, exactly(ours, x, gradient))
    assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in found[:2])


def test_nothing_is_read_or_written_beyond_the_images() -> None:
    ours, shape = layer(7, 5), (2, 7, 9, 11)
    x, gradient = images(shape), images((2, 5, 9, 11), 1)
    around = torch.full((x.numel() + 200,), float("nan"), dtype=torch.bfloat16)
    inside = around[100:-100].view(2, 9, 11, 7).permute(0, 3, 1, 2)
    inside.copy_(x)
    assert all(
        torch.equal(*pair) for pair in zip(results(ours, inside, gradient), results(ours, x, gradient), strict=True)
    )


@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
def test_weights_and_their_gradient_may_have_either_memory_format(format: torch.memory_format) -> None:
    ours = layer(5, 4).to(memory_format=format)
    x, gradient = images((2, 5, 8, 8)), images((2, 4, 8, 8), 1)
    found = results(ours, x, gradient)
    assert found[2].is_contiguous(memory_format=format)
    assert_close(found, exactly(ours, x, gradient))


def test_images_in_float32_are_rounded_as_autocast_does() -> None:
    ours, x, gradient = layer(1, 9), images((2, 1, 28, 28), dtype=torch.float32), images((2, 9, 28, 28), 1)
    y, of_x, of_weight = results(ours, x, gradient)
    assert (y.dtype, of_x.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(of_weight, results(ours, x.bfloat16(), gradient)[2])


def test_the_first_layer_needs_no_gradient_of_its_images() -> None:
    ours, x, gradient = layer(3, 4), images((2, 3, 8, 8)), images((2, 4, 8, 8), 1)
    (found,) = torch.autograd.grad(ours(x), ours.weight, gradient)
    assert torch.equal(found, results(ours, x, gradient)[2])


def test_a_gradient_in_another_memory_format_is_accepted() -> None:
    ours, x, gradient = layer(6, 4), images((2, 6, 8, 4)), images((2, 4, 8, 4), 1)
    dense, strided = (results(ours, x, each) for each in (gradient, gradient.contiguous()))
    assert all(torch.equal(*pair) for pair in zip(dense, strided, strict=True))


def test_the_same_input_gives_the_same_bits() -> None:
    ours, x, gradient = layer(9, 11), images((4, 9, 28, 28)), images((4, 11, 28, 28), 1)
    one, other = (results(ours, x, gradient) for _ in range(2))
    assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_infinity_only_reach_their_neighbours(bad: float) -> None:
    ours, x, gradient = layer(5, 7), images((2, 5, 20, 20)), images((2, 7, 20, 20), 1)
    x[1, 2, 0, 17] = gradient[0, 3, 19, 4] = bad
    y, of_x, _ = results(ours, x, gradient)
    sides = [(i, j) for i in (0, 1) for j in (16, 17, 18)]
    assert y.isfinite().logical_not()[1, 0].nonzero().tolist() == [list(place) for place in sides]
    assert not y[0].isfinite().logical_not().any()
    assert of_x.isfinite().logical_not()[0, 0].nonzero().tolist() == [[i, j] for i in (18, 19) for j in (3, 4, 5)]
    assert not of_x[1].isfinite().logical_not().any()


@pytest.mark.parametrize(
    ("inputs", "outputs", "changes"),
    [
        (13, 4, {}),
        (4, 13, {}),
        (4, 4, {"kernel_size": 1, "padding": 0}),
        (4, 4, {"kernel_size": 5, "padding": 2}),
        (4, 4, {"padding": 0}),
        (4, 4, {"stride": 2}),
        (4, 4, {"dilation": 2, "padding": 2}),
        (4, 4, {"groups": 2}),
        (4, 4, {"bias": True}),
        (4, 4, {"padding": "same"}),
        (4, 4, {"padding_mode": "circular"}),
    ],
    ids=str,
)
def test_other_convolutions_use_torch(inputs: int, outputs: int, changes: dict[str, object]) -> None:
    ours, x = layer(inputs, outputs, **changes), images((2, inputs, 9, 9))
    y = ours(x)
    assert not is_ours(y)
    assert torch.equal(y, nn.Conv2d.forward(ours, x))


@pytest.mark.parametrize(
    "x",
    [
        torch.rand(2, 6, 4, 4).bfloat16(),
        images((2, 6, 8, 4))[:, :, ::2],
        images((2, 6, 33, 4)),
        images((2, 6, 4, 4))[:0],
        images((1, 6, 4, 4))[0],
    ],
    ids=["contiguous", "strided", "large", "empty", "one sample"],
)
def test_other_tensors_use_torch(x: Tensor) -> None:
    ours = layer(6, 4)
    y = ours(x)
    assert not is_ours(y)
    assert torch.equal(y, torchs(ours)(x))


def test_without_autocast_it_gives_the_bits_of_torch() -> None:
    ours, x = layer(6, 4), images((2, 6, 9, 9), dtype=torch.float32)
    with torch.autocast("cpu", enabled=False):
        y = ours(x)
        assert not is_ours(y)
        assert torch.equal(y, torchs(ours)(x))


def test_without_kernels_it_uses_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bindings, "load", lambda: Kernels(None, "none here"))
    assert not is_ours(layer(6, 4)(images((2, 6, 4, 4))))


def test_on_a_cpu_without_the_instructions_it_uses_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "convolution_limits", lambda: (0, 0))
    assert not is_ours(layer(6, 4)(images((2, 6, 4, 4))))


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 8), (8, 3), (4, 6)])
def test_beside_matrix_instructions_it_is_used_up_to_so_many_pairs_of_channels(
    inputs: int, outputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolution, "has_amx", lambda: True)
    assert is_ours(layer(inputs, outputs)(images((2, inputs, 4, 4))))
    assert not is_ours(layer(inputs, outputs + 1)(images((2, inputs, 4, 4))))


def test_second_derivatives_equal_those_of_torch() -> None:
    ours, x = layer(3, 4), images((2, 3, 6, 6)).requires_grad_()
    found = []
    for one in (ours, torchs(ours)):
        (first,) = torch.autograd.grad(one(x).float().pow(2).sum(), x, create_graph=True)
        found.append(torch.autograd.grad(first.float().square().sum(), one.weight)[0])
    torch.testing.assert_close(*found, rtol=0.05, atol=0.05 * float(found[1].abs().max()))


@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_tracers_transforms_and_fake_tensors_see_the_operations_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "convolution_forward", lambda *args: pytest.fail("a kernel ran"))
    ours, x = layer(3, 4), images((2, 3, 4, 4))
    torch.jit.trace(copy.deepcopy(ours), x, check_trace=False)
    torch.func.grad(lambda x: ours(x).float().sum())(x)
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert ours(mode.from_tensor(x)).shape == (2, 4, 4, 4)
