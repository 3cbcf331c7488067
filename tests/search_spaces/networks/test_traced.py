import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from multiprocessing import synchronize

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune

from search_spaces.architecture.cost import cost
from search_spaces.architecture.layers import Shape
from search_spaces.errors import SpaceError
from search_spaces.networks.network import Network, build
from search_spaces.networks.source import source
from search_spaces.networks.traced import Traced, copy_weights, trace

Make = Callable[[str], tuple[nn.Module, Shape]]


def example(*shape: int) -> Tensor:
    return torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))


def copied(network: nn.Module, traced: Traced) -> Network:
    copy = build(traced.architecture).eval()
    copy_weights(traced, network, copy)
    return copy


def test_the_traced_copy_gives_the_networks_logits(elsewhere: Make, network_name: str) -> None:
    network, shape = elsewhere(network_name)
    images = example(*shape)
    traced = trace(network, images[:2])
    with torch.no_grad():
        torch.testing.assert_close(copied(network, traced)(images), network(images), rtol=0, atol=1e-5)
    assert cost(traced.architecture).params == sum(weight.numel() for weight in network.parameters())


def test_the_generated_source_of_a_copy_computes_the_same_bits(elsewhere: Make, network_name: str) -> None:
    network, shape = elsewhere(network_name)
    copy = build(trace(network, example(*shape)).architecture).eval()
    names: dict[str, type[nn.Module]] = {}
    exec(source(copy.architecture), names)
    student = names["Student"]().eval()
    student.load_state_dict(copy.state_dict())
    with torch.no_grad():
        assert torch.equal(student(example(*shape)), copy(example(*shape)))


def test_what_follows_a_convolution_joins_its_node(elsewhere: Make) -> None:
    nodes = trace(elsewhere("digits")[0], example(1, 8, 8)).architecture.nodes
    assert [node.operation for node in nodes[:5]] == ["input", *["conv3x3_bn_relu"] * 2, "conv3x3_bn", "relu"]
    assert nodes[4].merge == "sum"
    assert [node.operation for node in nodes[-2:]] == ["global_pool_vector", "linear_bias"]
    assert [node.stage for node in nodes] == [0] * 5 + [1] * 4 + [2] * 4 + [3] * 2


def test_what_computes_a_gate_belongs_to_the_stage_of_its_map(elsewhere: Make) -> None:
    nodes = trace(elsewhere("gated")[0], example(3, 12, 12)).architecture.nodes
    products = [node for node in nodes if node.merge == "product"]
    assert [node.stage for node in products] == [2, 2]  # after maps of 12 x 12 and 6 x 6
    for product in products:
        excite = nodes[product.inputs[1]]
        squeeze = nodes[excite.inputs[0]]
        assert [excite.stage, squeeze.stage, nodes[squeeze.inputs[0]].stage] == [2, 2, 2]
    assert nodes[-1].stage == 3


def test_a_network_of_ours_is_traced_to_what_it_was_built_from(elsewhere: Make) -> None:
    architecture = trace(elsewhere("vgg")[0], example(3, 16, 16)).architecture
    network = build(architecture, seed=1).eval()
    traced = trace(network, example(3, 16, 16))
    assert traced.architecture == architecture
    assert torch.equal(copied(network, traced)(example(3, 16, 16)), network(example(3, 16, 16)))


def test_tracing_changes_neither_weights_nor_modes(elsewhere: Make) -> None:
    network = elsewhere("resnet18")[0].train()
    network.get_submodule("layer1").eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    trace(network, example(3, 40, 40))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert network.training
    assert not network.get_submodule("layer1.0.conv1").training


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 3), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"a": self.first(x), "b": self.second(x)}


def test_tracing_makes_no_semaphore(elsewhere: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is killed would leave it behind, of which multiprocessing warns when the search ends."""
    made: list[object] = []
    monkeypatch.setattr(synchronize.SemLock, "__init__", lambda *given, **_: made.append(given))
    monkeypatch.delattr("tqdm.std.tqdm._lock", raising=False)
    monkeypatch.delattr("tqdm.std.TqdmDefaultWriteLock.mp_lock", raising=False)
    network, shape = elsewhere("mobile")
    trace(network, example(*shape))
    assert made == []


def test_one_of_several_outputs_is_traced_without_what_only_the_others_need() -> None:
    traced = trace(Several(), example(4), "b")
    assert traced.modules == ((), ("second",))
    with pytest.raises(SpaceError, match="must return one tensor"):
        trace(Several(), example(4))


def test_a_network_that_is_a_single_layer_keeps_its_weights() -> None:
    network = nn.Linear(4, 3)
    traced = trace(network, example(4))
    assert [node.operation for node in traced.architecture.nodes] == ["input", "linear_bias"]
    with torch.no_grad():
        torch.testing.assert_close(copied(network, traced)(example(4)), network(example(4)))


def test_names_that_nodes_cannot_have_are_extended() -> None:
    names = ("architecture", "torch", "0", "architecture_")
    traced = trace(nn.Sequential(OrderedDict((name, nn.Linear(4, 4)) for name in names)), example(4))
    assert traced.architecture.names[1:] == ("architecture_", "torch_", "layer0", "architecture__")


def test_names_are_those_that_python_reads() -> None:
    names = ("\N{LATIN SMALL LIGATURE FI}", "fi", "\N{MICRO SIGN}")
    traced = trace(nn.Sequential(OrderedDict((name, nn.Linear(4, 4)) for name in names)), example(4))
    assert traced.architecture.names[1:] == ("fi", "fi_", "\N{GREEK SMALL LETTER MU}")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_network_of_another_precision_has_the_same_architecture(elsewhere: Make, dtype: torch.dtype) -> None:
    network, shape = elsewhere("digits")
    wanted = trace(network, example(*shape)).architecture
    assert trace(network.to(dtype), example(*shape).to(dtype)).architecture == wanted


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layer(self.layer(x)))


class Overwriting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.relu, self.last = nn.ReLU(inplace=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone()
        self.relu(x)
        return self.last(x)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Branching(), "cannot be traced, since its graph depends on values"),
        (Twice(), "module 'layer' runs twice, but a copy of the graph does not share weights"),
        (Overwriting(), "computes something else"),
        (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), r"module '1' \(LayerNorm\) has no counterpart in a student"),
    ],
)
def test_what_cannot_be_copied_is_refused_in_one_line(network: nn.Module, message: str) -> None:
    with pytest.raises(SpaceError, match=message) as caught:
        trace(network, example(4))
    assert "\n" not in str(caught.value)


class PaddedLikeTensorFlow(nn.Conv2d):
    def forward(self, maps: Tensor) -> Tensor:
        sides = []
        for size, kernel in zip(reversed(maps.shape[2:]), reversed(self.kernel_size), strict=True):
            lines = max((math.ceil(size / self.stride[0]) - 1) * self.stride[0] + kernel - size, 0)
            sides += [lines // 2, lines - lines // 2]
        return super().forward(F.pad(maps, sides))


class Scaled(PaddedLikeTensorFlow):
    def forward(self, maps: Tensor) -> Tensor:
        return 2 * super().forward(maps)


def with_convolution(layer: nn.Module) -> nn.Module:
    """A network that begins with a convolution of three to four channels."""
    return nn.Sequential(layer, nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


@pytest.mark.parametrize(("size", "stride"), [((9, 7), 2), ((8, 8), 1)])
def test_a_convolution_that_pads_both_sides_by_as_much_by_itself_is_copied_exactly(size: Shape, stride: int) -> None:
    network = with_convolution(PaddedLikeTensorFlow(3, 4, 3, stride, bias=False)).eval()
    traced = trace(network, example(3, *size))
    assert traced.architecture.nodes[1].operation == "conv3x3_bn_relu"
    torch.testing.assert_close(copied(network, traced)(example(3, *size)), network(example(3, *size)))


@pytest.mark.parametrize("kernel", [3, 5])
def test_a_convolution_that_pads_one_side_less_becomes_one_that_pads_both(kernel: int) -> None:
    network = with_convolution(PaddedLikeTensorFlow(3, 4, kernel, 2)).eval()
    traced = trace(network, example(3, 8, 8))
    plain = with_convolution(nn.Conv2d(3, 4, kernel, 2, padding=kernel // 2)).eval()
    plain.load_state_dict(network.state_dict())
    torch.testing.assert_close(copied(network, traced)(example(3, 8, 8)), plain(example(3, 8, 8)))
    assert traced.architecture == trace(plain, example(3, 8, 8)).architecture
    assert not torch.allclose(network(example(3, 8, 8)), plain(example(3, 8, 8)), rtol=1e-3)  # as it was before


@pytest.mark.parametrize(
    ("size", "why"), [(8, "module '0' does more than to pad and convolve"), (9, "perhaps a layer")]
)
def test_a_convolution_that_does_more_than_to_pad_is_refused(size: int, why: str) -> None:
    with pytest.raises(SpaceError, match=rf"copy computes something else \(its outputs differ by .*\): {why}"):
        trace(with_convolution(Scaled(3, 4, 3, 2)), example(3, size, size))


class Doubled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Plain(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


def test_a_linear_layer_of_an_own_class_is_copied_if_it_is_nothing_else() -> None:
    traced = trace(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), Plain(5, 2)), example(4))
    assert [node.operation for node in traced.architecture.nodes] == ["input", "linear_bias_relu", "linear_bias"]
    with pytest.raises(SpaceError, match="or does more than the class that it extends"):
        trace(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), Doubled(5, 2)), example(4))


def test_a_convolution_with_computed_weights_is_named() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    with pytest.raises(SpaceError, match=r"module '0' \(ParametrizedConv2d\) has no counterpart"):
        trace(with_convolution(layer), example(3, 8, 8))


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "compute",
    [
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        partial(prune.l1_unstructured, name="weight", amount=0.5),
        partial(prune.l1_unstructured, name="bias", amount=2),
    ],
    ids=["weight norm", "spectral norm", "pruned weight", "pruned bias"],
)
def test_weights_that_hooks_compute_are_copied(compute: Callable[[nn.Module], nn.Module]) -> None:
    network = with_convolution(compute(nn.Conv2d(3, 4, 3))).eval()
    traced = trace(network, example(3, 8, 8))
    assert traced.architecture.nodes[1].operation.startswith("conv3x3")
    with torch.no_grad():
        torch.testing.assert_close(copied(network, traced)(example(3, 8, 8)), network(example(3, 8, 8)))


class NormAndActivation(nn.BatchNorm2d):
    """Normalises by the function, as in timm."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.activation = nn.ReLU6(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        statistics = self.running_mean, self.running_var, self.weight, self.bias
        return self.activation(F.batch_norm(maps, *statistics, self.training, 0.1, self.eps))


class Reweighted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.means, self.variances = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.ones(4))

    def forward(self, maps: Tensor) -> Tensor:
        return F.batch_norm(maps, self.means, self.variances)


class Shifted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.ones(4, 6, 6))

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.shift


def test_a_batch_norm_that_activates_too_joins_the_convolution_before_it() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), NormAndActivation(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()).train()
    network(10 * example(3, 8, 8))  # gives it statistics of its own
    traced = trace(network, example(3, 8, 8))
    assert traced.architecture.nodes[1].operation == "conv3x3_padding0x0_bias_bn_relu6"
    assert traced.modules[1] == ("0", "1")
    torch.testing.assert_close(copied(network, traced)(example(3, 8, 8)), network.eval()(example(3, 8, 8)))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Reweighted(), "`batch_norm` in module '1' has weights or statistics of no BatchNorm1d or BatchNorm2d"),
        (Shifted(), "`add` in module '1' has no counterpart in a student"),
    ],
)
def test_a_function_that_reads_other_weights_is_named(layer: nn.Module, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        trace(nn.Sequential(nn.Conv2d(3, 4, 3), layer, nn.AdaptiveAvgPool2d(1), nn.Flatten()), example(3, 8, 8))
