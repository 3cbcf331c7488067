import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces.networks.kernels import batch_norm, bindings
from search_spaces.networks.kernels.batch_norm import BatchNorm2d
from search_spaces.networks.kernels.library import Kernels

pytestmark = pytest.mark.usefixtures("kernels")

SHAPES = [(2, 1, 1, 1), (1, 3, 5, 7), (16, 2, 1, 1), (5, 12, 9, 11), (3, 16, 8, 8), (4, 37, 7, 7), (2, 130, 5, 5)]


def images(shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return values.to(dtype).to(memory_format=torch.channels_last)


def norms(channels: int) -> tuple[BatchNorm2d, nn.BatchNorm2d]:
    """Our batch norm, and that of torch in float64 with the same parameters and statistics."""
    ours = BatchNorm2d(channels)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in (ours.weight, ours.bias, ours.running_mean, ours.running_var):
            tensor.copy_(torch.rand(channels, generator=generator) + 0.5)
    torchs = nn.BatchNorm2d(channels)
    torchs.load_state_dict(ours.state_dict())
    return ours, torchs.double()


def results(norm: nn.BatchNorm2d, x: Tensor, gradient: Tensor) -> dict[str, Tensor]:
    """Output, gradients and statistics after one step."""
    x = x.detach().clone().requires_grad_()
    y = norm(x)
    y.backward(gradient)
    found = {"y": y.detach(), "x": x.grad, "weight": norm.weight.grad, "bias": norm.bias.grad}
    return found | {name: buffer.clone() for name, buffer in norm.named_buffers()}


def is_ours(y: Tensor) -> bool:
    return "_Norm" in type(y.grad_fn).__name__


@pytest.mark.parametrize("shape", [*SHAPES, *[(3, channels, 4, 5) for channels in range(1, 71)]])
def test_it_computes_what_torch_computes_in_float64(shape: tuple[int, ...]) -> None:
    ours, torchs = norms(shape[1])
    x, gradient = images(shape), images(shape, 1)
    assert is_ours(copy.deepcopy(ours)(x))
    found, wanted = results(ours, x, gradient), results(torchs, x.double(), gradient.double())
    for name, value in found.items():
        torch.testing.assert_close(value.double(), wanted[name].double(), rtol=1e-4, atol=2e-5, msg=name)


def test_long_sums_are_accurate() -> None:
    shape = (64, 3, 40, 40)  # several blocks of tiles
    ours, torchs = norms(3)
    x, gradient = images(shape), images(shape, 1)
    found, wanted = results(ours, x, gradient), results(torchs, x.double(), gradient.double())
    for name in ("weight", "bias", "running_mean", "running_var"):
        torch.testing.assert_close(found[name].double(), wanted[name], rtol=1e-5, atol=1e-5, msg=name)


def test_a_large_offset_loses_no_digits() -> None:
    ours, torchs = norms(5)
    x, gradient = images((8, 5, 12, 12)) + 1000, images((8, 5, 12, 12), 1)
    found, wanted = results(ours, x, gradient), results(torchs, x.double(), gradient.double())
    torch.testing.assert_close(found["y"].double(), wanted["y"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found["x"].double(), wanted["x"], rtol=1e-3, atol=1e-4)


def test_a_constant_channel_becomes_the_bias() -> None:
    ours, _ = norms(4)
    x = images((4, 4, 6, 6))
    x[:, 2] = 7.0
    torch.testing.assert_close(ours(x)[:, 2], ours.bias[2].expand(4, 6, 6), rtol=0, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 12, 37, 130])
def test_bfloat16_is_float32_rounded_once(channels: int) -> None:
    shape = (4, channels, 9, 9)
    x, gradient = images(shape, dtype=torch.bfloat16), images(shape, 1, torch.bfloat16)
    ours, _ = norms(channels)
    wide = results(copy.deepcopy(ours), x.float(), gradient.float())
    found = results(ours, x, gradient)
    assert found["y"].dtype == found["x"].dtype == torch.bfloat16
    for name in ("y", "x"):
        assert torch.equal(found[name], wide[name].to(torch.bfloat16))
    for name in ("weight", "bias", "running_mean", "running_var"):
        assert torch.equal(found[name], wide[name])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_infinity_only_reach_their_channel(bad: float, dtype: torch.dtype) -> None:
    ours, _ = norms(5)
    x = images((4, 5, 9, 9), dtype=dtype)
    x[3, 2, 8, 4] = bad
    found = results(ours, x, images((4, 5, 9, 9), 1, dtype))
    for name in ("y", "x"):
        ill = found[name].isnan()
        assert ill[:, 2].all()
        assert not ill[:, [0, 1, 3, 4]].any()
    assert found["running_var"].isnan().tolist() == [False, False, True, False, False]


def test_the_same_input_gives_the_same_bits() -> None:
    x, gradient = images((8, 13, 9, 9)), images((8, 13, 9, 9), 1)
    one, other = (results(norms(13)[0], x, gradient) for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_evaluation_gives_the_bits_of_torch() -> None:
    ours, _ = norms(6)
    torchs = nn.BatchNorm2d(6)
    torchs.load_state_dict(ours.state_dict())
    x = images((2, 6, 5, 5))
    assert torch.equal(ours.eval()(x), torchs.eval()(x))


@pytest.mark.parametrize(
    "x",
    [
        torch.rand(2, 6, 5, 5),
        images((2, 6, 5, 5))[:, :, ::2],
        images((2, 6, 5, 5), dtype=torch.float64),
        images((4, 6, 5, 5)).expand(4, 6, 5, 5)[::2],
    ],
    ids=["contiguous", "strided", "float64", "samples left out"],
)
def test_other_tensors_use_torch(x: Tensor) -> None:
    ours, _ = norms(6)
    ours = ours.to(x.dtype)
    torchs = nn.BatchNorm2d(6, dtype=x.dtype)
    torchs.load_state_dict(ours.state_dict())
    y = ours(x)
    assert not is_ours(y)
    assert torch.equal(y, torchs(x))


def test_with_several_threads_it_uses_torch() -> None:
    torch.set_num_threads(2)
    assert not is_ours(norms(6)[0](images((2, 6, 5, 5))))


def test_without_kernels_it_uses_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bindings, "load", lambda: Kernels(None, "none here"))
    assert not is_ours(norms(6)[0](images((2, 6, 5, 5))))


@pytest.mark.parametrize(
    "settings", [{"momentum": None}, {"affine": False}, {"track_running_stats": False}], ids=lambda s: next(iter(s))
)
def test_other_settings_use_torch(settings: dict[str, Any]) -> None:
    x = images((2, 6, 5, 5)).requires_grad_()
    assert not is_ours(BatchNorm2d(6, **settings)(x))


def test_one_value_per_channel_is_rejected_as_by_torch() -> None:
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        BatchNorm2d(3)(images((1, 3, 1, 1)))


@pytest.mark.parametrize("channels", [1, 4])
def test_images_of_other_channels_are_rejected_as_by_torch(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_norm, "norm_forward", lambda *args: pytest.fail("a kernel ran"))
    with pytest.raises(RuntimeError, match=f"running_mean should contain {channels} elements not 3"):
        BatchNorm2d(3)(images((2, channels, 4, 4)))


def test_weights_on_another_device_are_rejected_as_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_norm, "norm_forward", lambda *args: pytest.fail("a kernel ran"))
    with pytest.raises(RuntimeError, match="not on the expected device"):
        BatchNorm2d(3, device="meta")(images((2, 3, 4, 4)))


def test_a_gradient_in_another_memory_format_is_accepted() -> None:
    ours, torchs = norms(6)
    x, gradient = images((3, 6, 5, 5)), images((3, 6, 5, 5), 1).contiguous()
    found, wanted = results(ours, x, gradient), results(torchs, x.double(), gradient.double())
    torch.testing.assert_close(found["x"].double(), wanted["x"], rtol=1e-4, atol=1e-5)


def test_second_derivatives_equal_those_of_torch() -> None:
    ours, torchs = norms(4)
    found = []
    for norm, dtype in ((ours, torch.float32), (torchs, torch.float64)):
        x = images((3, 4, 5, 5)).to(dtype).requires_grad_()
        (first,) = torch.autograd.grad(norm(x).pow(3).sum(), x, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), (x, norm.weight)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-3, atol=1e-3)


def test_finite_differences_agree_with_the_gradient() -> None:
    ours, _ = norms(3)
    x, direction, gradient = (images((4, 3, 6, 6), seed) for seed in range(3))
    slope = float((results(ours, x, gradient)["x"].double() * direction).sum())
    step = 1e-2
    ends = [float((ours(x + sign * step * direction).double() * gradient).sum().detach()) for sign in (1, -1)]
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(slope, rel=2e-3, abs=2e-3)


def test_copies_pickles_and_state_dicts_equal_those_of_torch() -> None:
    ours, _ = norms(3)
    x = images((2, 3, 4, 4))
    twins = [copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))]
    assert list(ours.state_dict()) == list(nn.BatchNorm2d(3).state_dict())
    assert all(torch.equal(twin(x), copy.deepcopy(ours)(x)) for twin in twins)


@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_tracers_transforms_and_fake_tensors_see_the_operations_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_norm, "norm_forward", lambda *args: pytest.fail("a kernel ran"))
    ours, _ = norms(3)
    x = images((2, 3, 4, 4))
    torch.jit.trace(ours, x, check_trace=False)
    buffers = dict(ours.named_buffers())
    torch.func.grad(lambda x, state: torch.func.functional_call(ours, state, x).sum())(x, buffers)
    with torch._subclasses.FakeTensorMode() as mode:
        assert BatchNorm2d(3)(mode.from_tensor(x)).shape == x.shape


@pytest.mark.slow  # torch.export loads its compiler
def test_an_exporter_sees_the_operations_of_torch() -> None:
    ours, _ = norms(3)
    program = torch.export.export(ours.train(), (images((2, 3, 4, 4)),))
    assert any("batch_norm" in str(node.target) for node in program.graph.nodes)


def test_no_more_memory_is_kept_for_the_backward_pass_than_by_torch() -> None:
    def kept(norm: nn.BatchNorm2d) -> int:
        tensors: list[Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: tensors.append(t) or t, lambda t: t):
            norm(images((2, 6, 5, 5)))
        return sum(tensor.nbytes for tensor in tensors)

    assert 0 < kept(BatchNorm2d(6)) <= kept(nn.BatchNorm2d(6))
