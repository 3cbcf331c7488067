import copy

import pytest
import torch
from hooked_networks import FIDELITY_METRICS, HOOKED, IMAGES, VECTORS, Block, Residual, plain, vectors
from torch import Tensor, nn

from autokd.distillation.feature_extractor import FeatureExtractor
from autokd.distillation.layers import averaged, default_layers, layer_outputs
from autokd.errors import InputError


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


class Reading(nn.Module):
    """A wrapper, as teachers have one, that makes its logits of what its network returns."""

    def __init__(self, network: nn.Module, key: str | None) -> None:
        super().__init__()
        self.network = network
        self.reading = lambda returned: (returned if key is None else returned[key])[:, :2].clone()

    def forward(self, samples: Tensor) -> Tensor:
        logits: Tensor = self.reading(self.network(samples))
        return logits


class Named(nn.Sequential):
    """A network that returns its logits by name."""

    def forward(self, samples: Tensor) -> dict[str, Tensor]:
        return {"logits": super().forward(samples)}


@pytest.mark.parametrize(("kind", "key"), [(nn.Sequential, None), (Named, "logits")])
def test_what_a_wrapper_reads_its_logits_from_is_no_hidden_layer(kind: type[nn.Sequential], key: str | None) -> None:
    inner = vectors()
    wrapped = Reading(kind(*inner), key)
    assert list(layer_outputs(wrapped, VECTORS)) == [f"network.{name}" for name in layer_outputs(inner, VECTORS)]
    assert default_layers(wrapped, VECTORS) == tuple(f"network.{name}" for name in default_layers(inner, VECTORS))


def test_a_network_whose_part_is_called_network_keeps_the_layers_of_that_part() -> None:
    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.head = nn.Sequential(nn.Linear(VECTORS.shape[1], 5), nn.ReLU()), nn.Linear(5, 3)

        def forward(self, samples: Tensor) -> Tensor:
            logits: Tensor = self.head(self.network(samples))
            return logits

    assert "network" in layer_outputs(Parts(), VECTORS)
