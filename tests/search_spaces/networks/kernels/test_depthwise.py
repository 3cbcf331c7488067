import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces.networks.kernels import convolution
from search_spaces.networks.kernels.convolution import Conv2d

pytestmark = pytest.mark.usefixtures("kernels")

HALF, FULL = torch.bfloat16, torch.float32
SHAPES = [  # batch, channels, height, width, side, stride
    *[(2, channels, 9, 6, 3, 1) for channels in (2, 7, 15, 16, 17, 40)],
    *[(2, 18, 7, 10, side, stride) for side in (3, 5, 7) for stride in (1, 2, 3)],
    (3, 5, 1, 1, 3, 1),
    (1, 20, 2, 3, 7, 2),
    (1, 3, 32, 1, 5, 4),
]


@pytest.fixture(params=[HALF, FULL], ids=str)
def dtype(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    with torch.autocast("cpu", torch.bfloat16, enabled=request.param == HALF):
        yield request.param


def layer(channels: int, side: int, stride: int, **changes: Any) -> Conv2d:
    sizes = {"kernel_size": side, "stride": stride, "padding": side // 2, "groups": channels, "bias": False}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return Conv2d(channels, channels, **(sizes | changes))


def images(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return values.to(dtype).to(memory_format=torch.channels_last)


def results(of: nn.Module, weight: Tensor, x: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
    """Output, and gradients of x and the weights."""
    x = x.detach().clone().requires_grad_()
    y = of(x)
    return y.detach(), *torch.autograd.grad(y, (x, weight), gradient)


def exactly(of: Conv2d, x: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
    """The same results by torch in float64, with the weights rounded as autocast does."""
    wide = copy.deepcopy(of).double()
    wide.weight.data = of.weight.detach().to(x.dtype).double()
    with torch.autocast("cpu", enabled=False):
        return results(lambda x: nn.Conv2d.forward(wide, x), wide.weight, x.double(), gradient.double())  # type: ignore[arg-type]


def is_ours(y: Tensor) -> bool:
    return "_Depthwise" in type(y.grad_fn).__name__


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_equals_torch_in_float64(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    batch, channels, height, width, side, stride = shape
    ours, x = layer(channels, side, stride), images((batch, channels, height, width), dtype)
    y = ours(x.clone().requires_grad_())
    assert is_ours(y) == (dtype == HALF or side > 3)
    gradient = images(tuple(y.shape), dtype, 1)
    found, wanted = results(ours, ours.weight, x, gradient), exactly(ours, x, gradient)
    for one, other, exact in zip(found, wanted, (False, False, True), strict=True):
        relative = 1e-5 if exact or dtype == FULL else torch.finfo(HALF).eps / 2 * 1.01
        torch.testing.assert_close(one.double(), other, rtol=relative, atol=1e-5 * float(other.abs().max()))
    assert found[1].dtype == dtype
    assert found[2].dtype == FULL


def test_nothing_is_read_or_written_beyond_the_images() -> None:
    ours, shape = layer(19, 5, 2), (2, 19, 9, 11)
    x, gradient = images(shape, FULL), images((2, 19, 5, 6), FULL, 1)
    around = torch.full((x.numel() + 200,), float("nan"))
    inside = around[100:-100].view(2, 9, 11, 19).permute(0, 3, 1, 2)
    inside.copy_(x)
    pairs = zip(results(ours, ours.weight, inside, gradient), results(ours, ours.weight, x, gradient), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_infinity_reach_their_windows_only(bad: float) -> None:
    ours, gradient = layer(18, 5, 1), images((1, 18, 9, 9), FULL, 1)
    gradient[0, 17, 4, 4] = bad
    _, of_x, _ = results(ours, ours.weight, images((1, 18, 9, 9), FULL), gradient)
    wrong = of_x.isfinite().logical_not().nonzero()
    assert {tuple(place) for place in wrong[:, :2].tolist()} == {(0, 17)}
    assert wrong[:, 2:].amin() == 2
    assert wrong[:, 2:].amax() == 6


@pytest.mark.parametrize(
    "changes", [{"bias": True}, {"dilation": 2}, {"padding": 1}, {"groups": 2}, {"kernel_size": (5, 3)}]
)
def test_other_convolutions_are_torchs(changes: dict[str, Any]) -> None:
    x = images((2, 4, 12, 12), FULL).requires_grad_()
    assert not is_ours(layer(4, 5, 1, **changes)(x))


def test_images_of_another_dtype_than_the_weights_are_refused_as_by_torch() -> None:
    with pytest.raises(RuntimeError, match="should be the same"):
        layer(4, 5, 1)(images((2, 4, 8, 8), HALF))


def test_the_first_layer_needs_no_gradient_of_its_images() -> None:
    ours, x = layer(4, 5, 1), images((2, 4, 8, 8), FULL)
    ours(x).sum().backward()
    assert ours.weight.grad is not None
    whole = images((2, 4, 8, 8), FULL).requires_grad_()
    assert torch.equal(ours.weight.grad, torch.autograd.grad(ours(whole).sum(), ours.weight)[0])


def test_second_derivatives_are_torchs() -> None:
    ours, x = layer(4, 5, 1).double(), images((1, 4, 6, 6), FULL).double().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: convolution._Depthwise.apply(x, ours.weight, 1), x)
