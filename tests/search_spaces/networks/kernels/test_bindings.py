import pytest
import torch
from torch import Tensor

from search_spaces.networks.kernels.bindings import one_pass_sum, suits

pytestmark = pytest.mark.usefixtures("kernels")

SHAPES = [(1, 1, 1, 1), (2, 3, 5, 7), (8, 12, 9, 11)]  # the last one is longer than `STRETCH` in sums.c


def images(n: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(shape, generator=generator).to(dtype) for _ in range(n)]
    return [image.to(memory_format=torch.channels_last) for image in made]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_sum_and_its_dot_products_equal_those_in_float64_rounded_once(
    n: int, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    *tensors, other = images(n + 1, shape, dtype)
    gates: list[Tensor | None] = [None, *torch.linspace(-1, 2, n)[1:].unbind()]
    total, dots = one_pass_sum(tensors, gates, other)
    factors = [1.0 if gate is None else float(gate) for gate in gates]
    wanted = sum(factor * tensor.double() for factor, tensor in zip(factors, tensors, strict=True))
    rounding = torch.finfo(dtype).eps / 2
    torch.testing.assert_close(total.double(), wanted, rtol=rounding * 1.01, atol=1e-6)
    assert total.dtype == dtype
    assert total.is_contiguous(memory_format=torch.channels_last)
    expected = [float((tensor.double() * other.double()).sum()) for tensor in tensors]
    assert dots.tolist() == pytest.approx([0.0, *expected[1:]], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-40, 3.4e38, 1 + 2**-8])
def test_bfloat16_is_rounded_as_by_torch(value: float) -> None:
    x = torch.full((2, 3, 1, 1), value).to(torch.bfloat16)
    gate = torch.tensor(1 + 2**-8)  # a tie for many values
    total, _ = one_pass_sum([x], [gate])
    assert torch.equal(total.isnan(), x.isnan())
    assert torch.equal(total.nan_to_num(7), (x.float() * gate).to(torch.bfloat16).nan_to_num(7))


def test_only_channels_last_images_of_one_shape_and_dtype_are_accepted() -> None:
    x, y = images(2, (2, 3, 5, 7))
    assert suits(x, y)
    assert not suits(x, y[:1])
    assert not suits(x, y.bfloat16())
    assert not suits(x, y.contiguous())
    assert not suits(x.double())
    assert not suits(torch.rand(4, 3))
    assert not suits(x.to("meta"))
