import pytest
import torch
from torch import Tensor, nn

from autokd.distillation import BatchContext, Outputs
from autokd.distillation.feature_extractor import FeatureExtractor, layer_outputs
from autokd.distillation.methods.fitnet import FitNet
from autokd.distillation.methods.hints import ClusteredHints, cluster_layers, linear_cka
from autokd.errors import InputError


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def hsic_slowly(x: Tensor, y: Tensor) -> float:
    """Unbiased estimate of Song et al. 2012, in loops."""
    n = len(x)
    k = [[0.0 if i == j else float(x[i] @ x[j]) for j in range(n)] for i in range(n)]
    m = [[0.0 if i == j else float(y[i] @ y[j]) for j in range(n)] for i in range(n)]
    trace = sum(k[i][j] * m[j][i] for i in range(n) for j in range(n))
    ends = sum(map(sum, k)) * sum(map(sum, m)) / ((n - 1) * (n - 2))
    middle = sum(k[i][j] * m[j][q] for i in range(n) for j in range(n) for q in range(n))
    return (trace + ends - 2 / (n - 2) * middle) / (n * (n - 3))


def test_similarities_equal_the_estimate_in_loops() -> None:
    chunks = [(drawn(n, 3, seed=n), drawn(n, 4, seed=n + 1), drawn(n, 2, seed=n + 2)) for n in (6, 5)]
    expected = torch.eye(3, dtype=torch.float64)
    sums = [[sum(hsic_slowly(c[i], c[j]) for c in chunks) for j in range(3)] for i in range(3)]
    for i in range(3):
        for j in range(3):
            expected[i, j] = sums[i][j] / (sums[i][i] * sums[j][j]) ** 0.5
    torch.testing.assert_close(linear_cka(chunks), expected, rtol=0, atol=1e-9)


def test_many_samples_have_the_plain_similarity() -> None:
    x = drawn(400, 3)
    y = x @ drawn(3, 5, seed=1) + drawn(400, 5, seed=2)
    centred = [outputs - outputs.mean(0) for outputs in (x, y)]
    own = [float((outputs.T @ outputs).norm()) for outputs in centred]
    plain = float((centred[0].T @ centred[1]).square().sum()) / (own[0] * own[1])
    assert float(linear_cka([(x, y)])[0, 1]) == pytest.approx(plain, abs=0.01)
    split = zip(x.split(20), y.split(20), strict=True)
    assert float(linear_cka(split)[0, 1]) == pytest.approx(plain, abs=0.05)


def test_similarities_ignore_shift_rotation_and_scale() -> None:
    x, y = drawn(12, 4), drawn(12, 3, seed=1)
    rotation = torch.linalg.qr(drawn(4, 4, seed=2)).Q
    found = linear_cka([(x, y, 5 * x @ rotation + 100)])
    torch.testing.assert_close(found[0, 1], found[2, 1])
    assert float(found[0, 2]) == pytest.approx(1)


def test_unrelated_layers_wider_than_the_chunk_are_not_similar() -> None:
    chunks = [(drawn(32, 200, seed=2 * s), drawn(32, 200, seed=2 * s + 1)) for s in range(20)]
    assert abs(float(linear_cka(chunks)[0, 1])) < 0.02


def test_a_constant_layer_is_similar_only_to_itself() -> None:
    found = linear_cka([(drawn(8, 3), torch.full((8, 2), 3.0), drawn(8, 3, seed=1))])
    assert found[1].tolist() == [0, 1, 0]
    assert found[:, 1].tolist() == [0, 1, 0]


def test_chunks_of_less_than_four_samples_are_ignored() -> None:
    whole = drawn(9, 3), drawn(9, 2, seed=1)
    rest = drawn(3, 3, seed=2), drawn(3, 2, seed=3)
    torch.testing.assert_close(linear_cka([whole, rest]), linear_cka([whole]))
    with pytest.raises(InputError, match="at least 4 samples"):
        linear_cka([rest])


def on_a_line(*places: float) -> Tensor:
    points = torch.tensor(places)
    return (points[:, None] - points[None]).abs()


def test_layers_are_assigned_to_the_nearest_centre_and_the_middle_one_is_chosen() -> None:
    groups = on_a_line(0.0, 0.1, 0.2, 5.0, 5.1, 5.2, 5.3, 5.4, 9.0)
    assert cluster_layers(groups) == (1, 5, 8)


def test_centres_move_until_they_are_stable() -> None:
    # From 0, 4 and 8 the clusters are (0 1 2 3), (4 5), (6 7 8), whose middles are 1, 4 and 7; these stay.
    assert cluster_layers(on_a_line(0, 1, 2, 3, 10, 11, 20, 21, 22)) == (1, 4, 7)
    # From 0, 3 and 6: (0 1), (2 3), (4 5 6), then from 0, 2 and 5 the same.
    assert cluster_layers(on_a_line(0, 1, 6, 6.5, 12, 12.5, 13)) == (0, 2, 5)


def test_the_new_centre_is_the_member_nearest_the_mean_index_not_the_mean_place() -> None:
    # The cluster (0 1 2 3) has its mean place near layer 0; its mean index 1.5 is as near to 1 as to 2.
    assert cluster_layers(on_a_line(0.0, 0.1, 0.2, 3.9, 10.0, 20.0, 20.0), k=3)[0] == 1


def test_a_cluster_may_have_layers_that_are_not_neighbours() -> None:
    assert cluster_layers(on_a_line(0.0, 9.0, 0.1, 9.1, 0.2, 9.2), k=2) == (2, 3)


@pytest.mark.parametrize(("n", "k", "centres"), [(1, 3, (0,)), (2, 3, (0, 1)), (3, 3, (0, 1, 2)), (5, 1, (2,))])
def test_there_are_no_more_centres_than_layers(n: int, k: int, centres: tuple[int, ...]) -> None:
    assert cluster_layers(on_a_line(*range(n)), k) == centres


def test_layers_that_do_not_differ_have_one_centre() -> None:
    assert cluster_layers(torch.zeros(7, 7)) == (3,)


@pytest.mark.parametrize("seed", range(30))
def test_clustering_terminates_for_any_distances(seed: int) -> None:
    distances = drawn(9, 9, seed=seed).abs()
    distances = (distances + distances.T).fill_diagonal_(0)
    centres = cluster_layers(distances)
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
    ClusteredHints().layers(network, network, endless())
    assert len(looked_at) == 4


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
    assert len(method.regressors) == len(chosen[0])
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


def test_a_weight_must_not_be_negative() -> None:
    with pytest.raises(InputError, match="weight=-1"):
        ClusteredHints(weight=-1.0)
