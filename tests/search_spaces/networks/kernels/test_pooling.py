from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces.networks.kernels import bindings, pooling
from search_spaces.networks.kernels.library import Kernels
from search_spaces.networks.kernels.pooling import AvgPool2d

pytestmark = pytest.mark.usefixtures("kernels")

SHAPES = [(1, 1, 1, 1), (2, 3, 2, 3), (3, 12, 1, 5), (2, 37, 4, 3), (1, 130, 3, 2)]  # of the output


def images(shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return values.to(dtype).to(memory_format=torch.channels_last)


def before(shape: tuple[int, ...], side: int) -> tuple[int, ...]:
    return (*shape[:2], shape[2] * side, shape[3] * side)


def results(pool: nn.Module, x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Output, and gradient of x."""
    x = x.detach().clone().requires_grad_()
    y = pool(x)
    return y.detach(), torch.autograd.grad(y, x, gradient)[0]


def is_ours(y: Tensor) -> bool:
    return "_Pool" in type(y.grad_fn).__name__


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("side", [1, 2, 3, 4])
def test_it_equals_torch_in_float64_rounded_once(side: int, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, gradient = images(before(shape, side), dtype=dtype), images(shape, 1, dtype)
    assert is_ours(AvgPool2d(side)(x.clone().requires_grad_()))
    found = results(AvgPool2d(side), x, gradient)
    wanted = results(nn.AvgPool2d(side), x.double(), gradient.double())
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == dtype
        assert one.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(one.double(), other, rtol=torch.finfo(dtype).eps / 2 * 1.01, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_infinity_only_reach_their_window(bad: float, dtype: torch.dtype) -> None:
    x, gradient = images((2, 5, 6, 4), dtype=dtype), images((2, 5, 3, 2), 1, dtype)
    x[1, 2, 5, 3] = gradient[1, 4, 0, 1] = bad
    y, of_x = results(AvgPool2d(2), x, gradient)
    assert y.isfinite().logical_not().nonzero().tolist() == [[1, 2, 2, 1]]
    assert of_x.isfinite().logical_not().nonzero().tolist() == [[1, 4, i, j] for i in (0, 1) for j in (2, 3)]


def test_the_same_input_gives_the_same_bits() -> None:
    x, gradient = images((4, 13, 8, 8)), images((4, 13, 4, 4), 1)
    one, other = (results(AvgPool2d(2), x, gradient) for _ in range(2))
    assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))


def test_a_gradient_in_another_memory_format_is_accepted() -> None:
    x, gradient = images((2, 6, 8, 4)), images((2, 6, 4, 2), 1)
    dense, strided = (results(AvgPool2d(2), x, each)[1] for each in (gradient, gradient.contiguous()))
    assert torch.equal(dense, strided)


def test_evaluation_without_gradients_gives_the_bits_of_torch() -> None:
    x = images((2, 6, 9, 9))
    with torch.no_grad():
        assert torch.equal(AvgPool2d(3)(x), nn.AvgPool2d(3)(x))


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 3, "stride": 1},
        {"kernel_size": 2, "padding": 1},
        {"kernel_size": (2, 4)},
        {"kernel_size": 5},
        {"kernel_size": 5, "ceil_mode": True},
        {"kernel_size": 2, "divisor_override": 3},
    ],
    ids=["overlapping", "padded", "oblong", "not filling", "rounded up", "divisor"],
)
def test_other_windows_use_torch(settings: dict[str, Any]) -> None:
    x = images((2, 6, 8, 8)).requires_grad_()
    y = AvgPool2d(**settings)(x)
    assert not is_ours(y)
    assert torch.equal(y, nn.AvgPool2d(**settings)(x))


@pytest.mark.parametrize(
    "x",
    [torch.rand(2, 6, 4, 4), images((2, 6, 8, 4))[:, :, ::2], images((2, 6, 4, 4)).double(), torch.rand(6, 4, 4)],
    ids=["contiguous", "strided", "float64", "one sample"],
)
def test_other_tensors_use_torch(x: Tensor) -> None:
    y = AvgPool2d(2)(x.requires_grad_())
    assert not is_ours(y)
    assert torch.equal(y, nn.AvgPool2d(2)(x))


def test_without_kernels_it_uses_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bindings, "load", lambda: Kernels(None, "none here"))
    assert not is_ours(AvgPool2d(2)(images((2, 6, 4, 4)).requires_grad_()))


def test_second_derivatives_equal_those_of_torch() -> None:
    found = []
    for pool, dtype in ((AvgPool2d(3), torch.float32), (nn.AvgPool2d(3), torch.float64)):
        x = images((2, 4, 6, 6)).to(dtype).requires_grad_()
        (first,) = torch.autograd.grad(pool(x).pow(3).sum(), x, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), x)[0].double())
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_tracers_transforms_and_fake_tensors_see_the_operations_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooling, "pool_forward", lambda *args: pytest.fail("a kernel ran"))
    pool, x = AvgPool2d(2), images((2, 3, 4, 4))
    torch.jit.trace(pool, x, check_trace=False)
    torch.func.grad(lambda x: pool(x).sum())(x)
    with torch._subclasses.FakeTensorMode() as mode:
        assert pool(mode.from_tensor(x)).shape == (2, 3, 2, 2)
