import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from hooked_networks import HOOKED, IMAGES, Residual, all_convolutional, plain, searched
from torch import Tensor, nn

from autokd.distillation.base import Need
from autokd.distillation.feature_extractor import FeatureExtractor
from autokd.distillation.layers import default_layers
from autokd.errors import InputError

EVERYTHING: frozenset[Need] = frozenset({"embedding", "features"})


def seeded(network: nn.Module, samples: Tensor) -> Tensor:
    """Logits with dropout from a fixed seed."""
    torch.manual_seed(0)
    return network(samples)


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


def test_layers_of_a_network_that_takes_a_dict_are_to_be_named() -> None:
    class OfDict(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = plain()

        def forward(self, samples: dict[str, Tensor]) -> Tensor:
            return self.inner(samples["pixels"])

    FeatureExtractor(network := OfDict(), {"features"})
    with pytest.raises(InputError, match=r"^OfDict takes a dict, .*: name the layers, or choose a method"):
        network({"pixels": IMAGES})
    named = FeatureExtractor(network := OfDict(), {"features"}, ["inner.0"])
    assert named.outputs(network({"pixels": IMAGES})).features
