from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autokd.distillation import (
    AT,
    KD,
    BatchContext,
    Combined,
    EarlyStopping,
    Method,
    Outputs,
    make_method,
    method_distributions,
)
from autokd.distillation.feature_extractor import FeatureExtractor
from autokd.distillation.layer_similarity import linear_cka
from autokd.distillation.layers import layer_outputs
from autokd.distillation.methods import hints
from autokd.distillation.methods.fitnet import FitNet
from autokd.distillation.methods.hints import ClusteredHints, cluster_layers
from autokd.distillation.methods.sokd import SOKD
from autokd.errors import InputError
from autokd.testing.methods import MethodConformance


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def on_a_line(*places: float) -> Tensor:
    points = torch.tensor(places)
    return (points[:, None] - points[None]).abs()


def test_layers_are_assigned_to_the_nearest_centre_and_the_middle_one_is_chosen() -> None:
    groups = on_a_line(0.0, 0.1, 0.2, 5.0, 5.1, 5.2, 5.3, 5.4, 9.0)
    assert cluster_layers(groups, 3) == (1, 5, 8)


def test_centres_move_until_they_are_stable() -> None:
    # From 0, 4 and 8 the clusters are (0 1 2 3), (4 5), (6 7 8), whose middles are 1, 4 and 7; these stay.
    assert cluster_layers(on_a_line(0, 1, 2, 3, 10, 11, 20, 21, 22), 3) == (1, 4, 7)
    # From 0, 3 and 6: (0 1), (2 3), (4 5 6), then from 0, 2 and 5 the same.
    assert cluster_layers(on_a_line(0, 1, 6, 6.5, 12, 12.5, 13), 3) == (0, 2, 5)


def test_the_new_centre_is_the_member_nearest_the_mean_index_not_the_mean_place() -> None:
    # The cluster (0 1 2 3) has its mean place near layer 0; its mean index 1.5 is as near to 1 as to 2.
    assert cluster_layers(on_a_line(0.0, 0.1, 0.2, 3.9, 10.0, 20.0, 20.0), k=3)[0] == 1


def test_a_cluster_may_have_layers_that_are_not_neighbours() -> None:
    assert cluster_layers(on_a_line(0.0, 9.0, 0.1, 9.1, 0.2, 9.2), k=2) == (2, 3)


def clustered_slowly(distances: list[list[float]], k: int) -> list[int]:
    """The paper's algorithm in loops."""
    n, seen = len(distances), []
    centres = sorted({round(step * (n - 1) / max(1, k - 1)) for step in range(k)})
    while centres not in seen:
        seen.append(centres)
        clusters: dict[int, list[int]] = {}
        for layer in range(n):
            _, nearest = min((distances[layer][centre], centre) for centre in centres)
            clusters.setdefault(nearest, []).append(layer)
        means = [(sum(members) / len(members), members) for members in clusters.values()]
        centres = sorted(min((abs(layer - mean), layer) for layer in members)[1] for mean, members in means)
    return centres


@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize("seed", range(8))
def test_clusters_are_those_of_the_algorithm_in_loops(seed: int, k: int) -> None:
    distances = drawn(8, 8, seed=seed).abs()
    distances = (distances + distances.T).fill_diagonal_(0)
    assert list(cluster_layers(distances, k)) == clustered_slowly(distances.tolist(), k)


@pytest.mark.parametrize("n", range(1, 7))
def test_as_many_clusters_as_layers_return_all(n: int) -> None:
    distances = 1 - torch.eye(n) + drawn(n, n).abs().fill_diagonal_(0)
    assert cluster_layers(distances, n) == tuple(range(n))


@pytest.mark.parametrize(("n", "k", "centres"), [(1, 3, (0,)), (2, 3, (0, 1)), (3, 3, (0, 1, 2)), (5, 1, (2,))])
def test_there_are_no_more_centres_than_layers(n: int, k: int, centres: tuple[int, ...]) -> None:
    assert cluster_layers(on_a_line(*range(n)), k) == centres


def test_layers_that_do_not_differ_have_one_centre() -> None:
    assert cluster_layers(torch.zeros(7, 7), 3) == (3,)


@pytest.mark.parametrize("seed", range(30))
def test_clustering_terminates_for_any_distances(seed: int) -> None:
    distances = drawn(9, 9, seed=seed).abs()
    distances = (distances + distances.T).fill_diagonal_(0)
    centres = cluster_layers(distances, 3)
    assert 1 <= len(centres) <= 3
    assert list(centres) == sorted(set(centres))
    assert torch.equal(distances, distances.T)


def convolutional(widths: list[int]) -> nn.Sequential:
    torch.manual_seed(len(widths))
    stages = [
        nn.Sequential(nn.Conv2d(a, b, 3, stride=2 - i % 2, padding=1), nn.BatchNorm2d(b), nn.ReLU(inplace=True))
        for i, (a, b) in enumerate(zip([1, *widths], widths, strict=False))
    ]
    return nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 3))


def samples(n_batches: int = 3) -> list[Tensor]:
    return [drawn(40, 1, 16, 16, seed=s).float() for s in range(n_batches)]


def test_both_networks_have_as_many_chosen_layers_and_in_order() -> None:
    student, teacher = convolutional([4, 6]), convolutional([4, 5, 6, 8])
    own, hints = ClusteredHints().layers(student, teacher, iter(samples()))
    assert len(own) == len(hints)
    assert 2 <= len(hints) <= 3
    for network, names in ((student, own), (teacher, hints)):
        order = list(layer_outputs(network, samples()[0]))
        assert list(names) == sorted(names, key=order.index)


def test_a_network_as_its_own_teacher_has_the_same_layers() -> None:
    network = convolutional([4, 5, 6])
    own, hints = ClusteredHints().layers(network, network, iter(samples()))
    assert own == hints


def test_a_student_with_one_layer_gets_all_hints_there() -> None:
    student = nn.Sequential(nn.Conv2d(1, 2, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    own, hints = ClusteredHints().layers(student, convolutional([4, 5, 6]), iter(samples()))
    assert own == ["0"] * len(hints)


def test_no_more_samples_are_used_than_needed() -> None:
    looked_at = []

    def endless():
        while True:
            looked_at.append(1)
            yield drawn(512, 6).float()

    network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    ClusteredHints(samples=2048).layers(network, network, endless())
    assert len(looked_at) == 4


@pytest.mark.parametrize("batch", [1, 16, 20, 33, 100])
def test_as_many_samples_are_used_whatever_a_batch_has(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    seen: list[int] = []
    monkeypatch.setattr(hints, "METRICS", {"cka": lambda outputs: seen.extend(map(_length, outputs)) or torch.eye(2)})
    student = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    ClusteredHints(samples=320).layers(student, student, (drawn(batch, 6).float() for _ in range(1000)))
    assert seen == [32] * 10


def _length(outputs: list[Tensor]) -> int:
    return len(outputs[0])


def test_similarities_are_computed_once_for_each_teacher_and_its_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = convolutional([4, 6]), convolutional([4, 5, 6, 8])
    calls: list[int] = []
    monkeypatch.setattr(hints, "METRICS", {"cka": lambda outputs: calls.append(1) or linear_cka(outputs)})
    for seen in (samples(), samples(), [batch + 1 for batch in samples()]):
        ClusteredHints().layers(student, teacher, iter(seen))
    assert len(calls) == 2


def test_choosing_layers_does_not_change_the_networks() -> None:
    student, teacher = convolutional([4, 6]), convolutional([4, 5, 6, 8])
    states = [{name: value.clone() for name, value in n.state_dict().items()} for n in (student, teacher)]
    ClusteredHints().layers(student, teacher, iter(samples()))
    for network, state in zip((student, teacher), states, strict=True):
        assert network.training
        assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_networks_learn_from_the_chosen_layers() -> None:
    student, teacher = convolutional([4, 6]), convolutional([4, 5, 6, 8]).eval()
    method = ClusteredHints(weight=1.0)
    chosen = method.layers(student, teacher, iter(samples()))
    seen = samples()[0]
    extractors = [
        FeatureExtractor(network, method.needs, names)
        for network, names in zip((student, teacher), chosen, strict=True)
    ]
    labels = torch.arange(40) % 3
    outputs = [
        extractor.outputs(network(seen)) for extractor, network in zip(extractors, (student, teacher), strict=True)
    ]
    method.prepare(outputs[0], outputs[1], labels)
    assert isinstance(method.inner, FitNet)
    assert len(method.inner.regressors) == len(chosen[0])
    method.loss(outputs[0], outputs[1], BatchContext(labels, torch.arange(40))).backward()
    assert all(parameter.grad is not None for parameter in student.parameters())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_the_loss_is_that_of_fitnet_at_all_given_layers() -> None:
    def outputs(seed: int) -> Outputs:
        return Outputs(
            drawn(5, 3, seed=seed).float(), None, tuple(drawn(5, 4, 6, 6, seed=seed + s).float() for s in (1, 2, 3))
        )

    methods = ClusteredHints(weight=7.0), FitNet(weight=7.0, stages="all")
    losses = []
    for method in methods:
        torch.manual_seed(0)
        method.prepare(outputs(0), outputs(10), torch.arange(5) % 3)
        losses.append(method.loss(outputs(0), outputs(10), BatchContext(torch.arange(5) % 3, torch.arange(5))).item())
    assert losses[0] == losses[1]


def test_a_network_without_hidden_layers_is_rejected() -> None:
    student, teacher = nn.Sequential(nn.Linear(6, 3)), nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    with pytest.raises(InputError, match="compares hidden layers, but a network has none"):
        ClusteredHints().layers(student, teacher, iter([drawn(8, 6).float()]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": -1.0}, "weight=-1"),
        ({"metric": "cosine"}, "must be one of cka, cca, rbf, but got metric='cosine'"),
        ({"hints": 0}, "`hints` must be a whole number of at least 1"),
        ({"hints": 2.5}, "but got hints=2.5"),
        ({"samples": 31}, "`samples` must be a whole number of at least 32"),
        ({"inner": SOKD(AT())}, "not those of the teacher's copy that 'sokd' compares"),
        ({"inner": KD()}, "wraps one that compares feature maps, but 'kd' does not"),
    ],
)
def test_invalid_settings_are_rejected(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClusteredHints(**settings)


class TestAlone(MethodConformance):
    method = ClusteredHints

    def make(self, **settings: Any) -> Method:
        return ClusteredHints(**settings)


@pytest.mark.parametrize("metric", ["cka", "cca", "rbf"])
@pytest.mark.parametrize("hints", [2, 5])
def test_every_metric_finds_so_many_hints(metric: str, hints: int) -> None:
    teacher = convolutional([4, 5, 6, 8])
    _, found = ClusteredHints(metric=metric, hints=hints, samples=96).layers(teacher, teacher, iter(samples()))
    assert 1 <= len(found) <= hints
    assert len(set(found)) == len(found)


def test_any_loss_of_features_is_applied_at_the_hints() -> None:
    method = make_method("clustered-hints+at", {"clustered-hints.hints": 2, "at.weight": 3.0})
    assert type(method) is ClusteredHints
    assert method.chooses_layers
    maps = [tuple(drawn(5, 4, 6, 6, seed=seed + s).float() for s in (1, 2)) for seed in (0, 10)]
    student, teacher = (Outputs(drawn(5, 3).float(), None, features) for features in maps)
    context = BatchContext(torch.arange(5) % 3, torch.arange(5))
    method.prepare(student, teacher, context.labels)
    assert method.loss(student, teacher, context) == AT(weight=3.0).loss(student, teacher, context)
    assert "clustered-hints.weight" not in method_distributions("clustered-hints+at")
    assert "clustered-hints.metric" in method_distributions("clustered-hints+at")


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("clustered-hints+kd", [ClusteredHints, KD]),
        ("kd+clustered-hints", [KD, ClusteredHints]),
        ("kd+clustered-hints+at", [KD, ClusteredHints]),
        ("clustered-hints+kd+at", [ClusteredHints, KD, AT]),
    ],
)
def test_it_wraps_only_a_loss_of_features(name: str, kinds: list[type[Method]]) -> None:
    method = make_method(name, {})
    assert isinstance(method, Combined)
    assert [type(member) for member in method.members] == kinds
    assert method.chooses_layers


def test_it_wraps_a_loss_of_features_in_another_wrapper() -> None:
    method = make_method("clustered-hints+early-stopping+at", {})
    assert type(method) is ClusteredHints
    assert type(method.inner) is EarlyStopping
    assert make_method("early-stopping+clustered-hints+at", {}).chooses_layers


@pytest.mark.parametrize("name", ["sokd+fitnet+clustered-hints", "clustered-hints+kd>early-stopping+sokd+at"])
def test_layers_are_not_chosen_where_another_compares_those_of_a_copy_of_the_teacher(name: str) -> None:
    with pytest.raises(InputError, match=r"'clustered-hints' chooses layers of .* not those of the teacher's copy"):
        make_method(name)


@pytest.mark.parametrize("name", ["clustered-hints+sokd", "fitnet+bd-kd-online>clustered-hints"])
def test_layers_are_chosen_where_a_copy_is_compared_by_its_logits_alone(name: str) -> None:
    assert make_method(name).chooses_layers
