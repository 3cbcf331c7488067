import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autokd.distillation.base import Need
from autokd.distillation.feature_extractor import FeatureExtractor, averaged, default_layers, layer_outputs
from autokd.errors import InputError
from search_spaces.architecture.format import Architecture, Node
from search_spaces.networks.network import build

EVERYTHING: frozenset[Need] = frozenset({"embedding", "features"})

ARCHITECTURE = Architecture(
    (2, 8, 8),
    3,
    (
        Node("input", (), 2, name="image"),
        Node("conv3x3_bn", (0,), 4, name="left"),
        Node("conv1x1_bn", (0,), 4, name="right"),
        Node("relu_conv3x3_bn", (1, 2), 6, stride=2, merge="weighted_sum", name="down"),
        Node("conv1x1_bn", (3,), 6, name="small"),
        Node("relu_conv3x3_bn", (3, 4), 6, merge="sum", name="last"),
        Node("classifier", (3, 4, 5), 3, merge="mean", name="classifier"),
    ),
)


class Block(nn.Module):
    """A residual block whose ReLUs modify the outputs of batch normalisation and of the sum in place."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, padding=1)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)
        return self.relu(y)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.stage1 = nn.Sequential(Block(4, 4, 1), Block(4, 4, 1))
        self.stage2 = nn.Sequential(Block(4, 6, 2), Block(6, 6, 1))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage2(self.stage1(self.stem(x)))
        return self.head(x.mean((2, 3)))


def plain() -> nn.Sequential:
    layers = [nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)]
    return nn.Sequential(*layers)


def signals() -> nn.Sequential:
    layers = [nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv1d(4, 5, 3, 2, 1), nn.BatchNorm1d(5)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(5, 3))


def vectors() -> nn.Sequential:
    return nn.Sequential(nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))


def all_convolutional() -> nn.Sequential:
    layers = [nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 2, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers)


def searched() -> nn.Module:
    return build(ARCHITECTURE)


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def seeded(network: nn.Module, samples: Tensor) -> Tensor:
    """Logits with dropout from a fixed seed."""
    torch.manual_seed(0)
    return network(samples)


IMAGES, FIDELITY_METRICS, VECTORS = drawn(5, 2, 8, 8), drawn(5, 2, 8), drawn(5, 7)
NETWORKS = [
    (plain, IMAGES, ("2", "5")),
    (Residual, IMAGES, ("stage1", "stage2")),
    (searched, IMAGES, ("right", "last")),
    (all_convolutional, IMAGES, ("1", "2")),
    (signals, FIDELITY_METRICS, ("1", "3")),
    (vectors, VECTORS, ("4",)),
]
HOOKED = pytest.mark.parametrize(("make", "samples", "layers"), NETWORKS, ids=[n[0].__name__ for n in NETWORKS])


@HOOKED
def test_default_layers_are_the_last_of_each_resolution(make, samples, layers) -> None:
    assert default_layers(make(), samples) == layers


@HOOKED
def test_choosing_layers_does_not_change_the_network(make, samples, layers) -> None:
    network = make().train()
    next(network.children()).eval()
    modes, state = [m.training for m in network.modules()], copy.deepcopy(network.state_dict())
    random_state, given = torch.get_rng_state(), samples.clone()
    default_layers(network, samples)
    layer_outputs(network, samples)
    assert [m.training for m in network.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.equal(samples, given)
    assert not any(module._forward_hooks for module in network.modules())


@HOOKED
def test_hooks_change_neither_logits_nor_gradients(make, samples, layers) -> None:
    network = make().train()
    other = copy.deepcopy(network)
    FeatureExtractor(network, EVERYTHING)
    logits, expected = seeded(network, samples), seeded(other, samples)
    assert torch.equal(logits, expected)
    logits.square().sum().backward()
    expected.square().sum().backward()
    pairs = zip(network.parameters(), other.parameters(), strict=True)
    assert all(torch.equal(live_teacher.grad, plain.grad) for live_teacher, plain in pairs)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in network.state_dict().items())


@HOOKED
def test_features_are_the_outputs_of_the_layers(make, samples, layers) -> None:
    network = make().train()
    returned = {}
    for name in layers:
        network.get_submodule(name).register_forward_hook(
            lambda module, args, output, name=name: returned.update({name: output.clone()})
        )
    extractor = FeatureExtractor(network, EVERYTHING)
    outputs = extractor.outputs(network(samples))
    assert extractor.layers == layers
    assert len(outputs.features) == len(layers)
    assert all(torch.equal(maps, returned[name]) for maps, name in zip(outputs.features, layers, strict=True))


@HOOKED
def test_gradients_flow_through_features_and_embedding(make, samples, layers) -> None:
    network = make().train()
    outputs = FeatureExtractor(network, EVERYTHING).outputs(network(samples))
    (outputs.features[0].square().mean() + outputs.embedding.square().mean()).backward()
    assert next(network.parameters()).grad.abs().sum() > 0


def test_gradients_of_a_searched_networks_features_are_those_of_its_nodes_called_by_hand() -> None:
    network = searched().train()
    by_hand = copy.deepcopy(network)
    seen, last_seen = FeatureExtractor(network, {"features"}).outputs(network(IMAGES)).features
    (seen.exp().mean() + last_seen.exp().mean()).backward()
    left, right = by_hand.left(IMAGES), by_hand.right(IMAGES)
    gates = by_hand.merge_weights.sigmoid()
    down = by_hand.down(gates[0] * left + gates[1] * right)
    last = by_hand.last(down + by_hand.small(down))
    (right.exp().mean() + last.exp().mean()).backward()
    for (name, parameter), (_, other) in zip(network.named_parameters(), by_hand.named_parameters(), strict=True):
        if not name.startswith("classifier"):
            torch.testing.assert_close(parameter.grad, other.grad)


@HOOKED
def test_copies_and_pickles_of_the_network_have_no_active_hooks(make, samples, layers) -> None:
    network = make().train()
    names = list(network.state_dict())
    extractor = FeatureExtractor(network, EVERYTHING)
    logits = network(samples)  # what is kept has a history, which torch refuses to copy
    assert list(network.state_dict()) == names
    buffer = io.BytesIO()
    torch.save(network, buffer)
    buffer.seek(0)
    copies = [copy.deepcopy(network), pickle.loads(pickle.dumps(network)), torch.load(buffer, weights_only=False)]
    expected = network.eval()(2 * samples)
    outputs = extractor.outputs(expected)
    for other in copies:
        assert torch.equal(other.eval()(2 * samples), expected)
        other(samples)
    assert logits.shape == expected.shape
    assert torch.equal(extractor.outputs(network(2 * samples)).features[0], outputs.features[0])


@HOOKED
def test_layer_outputs_hold_the_default_layers_in_their_order(make, samples, layers) -> None:
    network = make()
    found = layer_outputs(network, samples)
    assert [name for name in found if name in layers] == list(layers)
    expected = FeatureExtractor(network, {"features"}).outputs(network.eval()(samples)).features
    assert all(torch.equal(found[name], maps) for name, maps in zip(layers, expected, strict=True))


class ChannelsLast(nn.Module):
    """A stage like ConvNeXt's, whose inner layers have their channels last."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(inputs, outputs, 2, 2)
        self.inner = nn.Sequential(nn.Linear(outputs, 3 * outputs), nn.GELU(), nn.Linear(3 * outputs, outputs))

    def forward(self, images: Tensor) -> Tensor:
        maps = self.down(images)
        return maps + self.inner(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Tokens(nn.Module):
    """A transformer of patches, whose attention has an axis of heads."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(2, 12, 4, 4)
        self.heads = nn.Identity()
        self.layers = nn.ModuleList(nn.Linear(12, 12) for _ in range(layers))
        self.classifier = nn.Linear(12, 3)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        for layer in self.layers:
            heads = self.heads(layer(tokens).unflatten(2, (3, 4)).transpose(1, 2))  # batch x heads x tokens x width
            tokens = tokens + heads.transpose(1, 2).flatten(2)
        return self.classifier(tokens.mean(1))


def test_what_has_its_channels_last_is_no_map() -> None:
    stages = nn.Sequential(ChannelsLast(2, 5), ChannelsLast(5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert default_layers(stages, torch.randn(2, 2, 16, 16)) == ("0", "1")


def test_a_network_of_tokens_has_no_default_layers() -> None:
    assert default_layers(Tokens(6), torch.randn(2, 2, 16, 16)) == ("patches",)  # few layers may be a classifier
    with pytest.raises(
        InputError, match=r"last map of Tokens, .*, is that of 'patches', after which 13 of its 14 layers"
    ):
        default_layers(Tokens(12), torch.randn(2, 2, 16, 16))


def test_layers_are_in_the_order_of_their_resolutions_however_late_a_large_map_is_made() -> None:
    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.small, self.late = nn.Conv2d(2, 3, 1), nn.Conv2d(3, 3, 2, 2), nn.Conv2d(3, 3, 1)

        def forward(self, images: Tensor) -> Tensor:
            maps = self.first(images)
            return self.small(maps).mean((2, 3)) + self.late(maps).mean((2, 3))

    assert default_layers(Late(), torch.randn(2, 2, 8, 8)) == ("late", "small")


def test_the_embedding_is_the_input_of_the_last_linear_layer() -> None:
    network = plain().eval()
    outputs = FeatureExtractor(network, {"embedding"}).outputs(network(IMAGES))
    assert torch.equal(outputs.embedding, network[:-1](IMAGES))  # type: ignore[arg-type]
    assert outputs.features == ()
    torch.testing.assert_close(network[-1](outputs.embedding), outputs.logits)


def test_without_a_linear_layer_the_embedding_is_the_last_feature_map_averaged() -> None:
    network = all_convolutional().eval()
    outputs = FeatureExtractor(network, {"embedding"}).outputs(network(IMAGES))
    torch.testing.assert_close(outputs.embedding, network[:3](IMAGES).mean((2, 3)))
    assert outputs.features == ()


def test_an_output_that_is_modified_in_place_is_the_feature_as_it_was_returned() -> None:
    network = plain().eval()
    (features,) = FeatureExtractor(network, {"features"}, ["1"]).outputs(network(IMAGES)).features
    assert torch.equal(features, network[:2](IMAGES))
    assert features.min() < 0


def test_the_last_call_of_a_module_counts() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(F.avg_pool2d(self.conv(x), 2)).mean((2, 3))

    network = Twice()
    assert default_layers(network, IMAGES) == ("conv",)
    (features,) = FeatureExtractor(network, {"features"}).outputs(network(IMAGES)).features
    assert features.shape == (5, 2, 4, 4)


def test_modules_of_a_block_before_it_changes_the_resolution_are_not_chosen() -> None:
    network = nn.Sequential(nn.Conv2d(2, 4, 1), Block(4, 6, 2), Block(6, 6, 2), nn.Flatten(), nn.Linear(24, 3))
    assert default_layers(network, IMAGES) == ("0", "1", "2")


def test_modules_in_a_container_of_several_resolutions_are_chosen() -> None:
    network = nn.Sequential(
        nn.Sequential(*[Block(2, 2, stride) for stride in (1, 2, 1, 2)]), nn.Flatten(), nn.Linear(8, 3)
    )
    assert default_layers(network, IMAGES) == ("0.0", "0.2", "0")


def test_the_last_layer_of_a_nested_network_of_one_resolution_is_chosen() -> None:
    inner = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 3))
    assert default_layers(nn.Sequential(inner), IMAGES) == ("0.1",)


def test_maps_of_one_position_are_chosen_if_there_are_no_others() -> None:
    network = nn.Sequential(nn.Conv2d(2, 4, 8), nn.ReLU(), nn.Flatten(), nn.Linear(4, 3))
    assert default_layers(network, IMAGES) == ("1",)


class Returning(nn.Module):
    """Returns its logits among other values."""

    def __init__(self, network: nn.Sequential, returned: str) -> None:
        super().__init__()
        self.network, self.returned = network, returned

    def forward(self, x: Tensor) -> dict[str, Tensor] | tuple[Tensor, Tensor]:
        maps = self.network[:3](x)
        logits = self.network[3:](maps)
        return {"logits": logits, "maps": maps} if self.returned == "mapping" else (maps, logits)


@pytest.mark.parametrize("returned", ["mapping", "tuple"])
def test_layers_of_a_network_that_returns_several_values_are_the_same(returned: str) -> None:
    wrapped = Returning(plain().eval(), returned)
    assert default_layers(wrapped, IMAGES) == ("network.2", "network.5")


def test_features_have_the_order_of_the_named_layers() -> None:
    network = plain().eval()
    first, second = FeatureExtractor(network, {"features"}, ["5", "0"]).outputs(network(IMAGES)).features
    assert (first.shape[1], second.shape[1]) == (6, 4)


def test_layers_that_do_not_exist_are_rejected_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"Residual has no module 'stage3'; the nearest known is 'stage\d'."):
        FeatureExtractor(Residual(), {"features"}, ["stage3"])


def test_a_layer_that_does_not_run_is_an_error() -> None:
    network = plain()
    network.unused = nn.ReLU()
    extractor = FeatureExtractor(network[:4], {"features"}, ["0"])
    with pytest.raises(InputError, match="module '0' has no features: it did not run"):
        extractor.outputs(torch.zeros(1, 3))


def test_linear_layers_that_do_not_run_are_an_error() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(128, 3))
    extractor = FeatureExtractor(network, {"embedding"})
    with pytest.raises(InputError, match="none of its linear layers ran"):
        extractor.outputs(network[0](IMAGES))


def test_a_network_without_maps_has_no_features() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(128, 3))
    assert default_layers(network, IMAGES) == ()
    FeatureExtractor(network, {"features"})
    with pytest.raises(InputError, match=r"returns features with as many axes as its samples, \(2, 8, 8\)"):
        network(IMAGES)


def test_outputs_are_released_once_returned() -> None:
    network = plain()
    extractor = FeatureExtractor(network, EVERYTHING)
    logits = network(IMAGES)
    extractor.outputs(logits)
    with pytest.raises(InputError, match="did not run"):
        extractor.outputs(logits)


def test_remove_removes_the_hooks() -> None:
    network = plain()
    extractor = FeatureExtractor(network, EVERYTHING)
    network(IMAGES)
    extractor.remove()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_network_whose_logits_suffice_has_no_hooks() -> None:
    network = plain()
    extractor = FeatureExtractor(network, set())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    outputs = extractor.outputs(network(IMAGES))
    assert outputs.embedding is None
    assert outputs.features == ()


@pytest.mark.parametrize("make", [plain, Residual, searched])
def test_outputs_under_autocast_are_float32_and_all_weights_learn(make) -> None:
    network = make().train()
    extractor = FeatureExtractor(network, EVERYTHING)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(IMAGES)
    outputs = extractor.outputs(logits)
    assert all(t.dtype == torch.float32 for t in (outputs.logits, outputs.embedding, *outputs.features))
    outputs.logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_features_of_a_teacher_have_no_gradient(guard) -> None:
    network = Residual().eval()
    with guard():
        outputs = FeatureExtractor(network, EVERYTHING).outputs(network(IMAGES))
    assert not outputs.features[0].requires_grad
    assert [maps.shape[1:] for maps in outputs.features] == [(4, 8, 8), (6, 4, 4)]


def test_a_batch_of_one_has_features() -> None:
    network = Residual().eval()
    outputs = FeatureExtractor(network, EVERYTHING).outputs(network(IMAGES[:1]))
    assert [maps.shape for maps in outputs.features] == [(1, 4, 8, 8), (1, 6, 4, 4)]


def test_layer_outputs_name_each_tensor_once_by_its_outermost_module() -> None:
    found = layer_outputs(Residual(), IMAGES)
    assert "stage1.1" not in found
    assert "stage1.1.bn2" not in found
    assert list(found)[-1] == "stage2"
    assert list(found).index("stage1.0") < list(found).index("stage1.1.conv1")


def test_layer_outputs_of_vectors_are_the_hidden_layers() -> None:
    assert list(layer_outputs(vectors(), VECTORS)) == ["0", "1", "2", "3", "4"]


def test_layer_outputs_are_transformed_by_kept() -> None:
    found, averages = layer_outputs(plain(), IMAGES), layer_outputs(plain(), IMAGES, averaged)
    assert list(averages) == list(found)
    assert [tuple(values.shape) for values in averages.values()] == [maps.shape[:2] for maps in found.values()]


def test_identities_and_maps_of_one_position_are_not_layers() -> None:
    network = nn.Sequential(nn.Identity(), nn.Conv2d(2, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    assert list(layer_outputs(network, IMAGES)) == ["1"]
    assert default_layers(network, IMAGES) == ("1",)


def test_averages_are_over_all_positions() -> None:
    torch.testing.assert_close(averaged(IMAGES), IMAGES.flatten(2).mean(2))
    torch.testing.assert_close(averaged(FIDELITY_METRICS), FIDELITY_METRICS.mean(2))
    assert torch.equal(averaged(VECTORS), VECTORS)
    assert averaged(IMAGES.bfloat16()).dtype == torch.float32
