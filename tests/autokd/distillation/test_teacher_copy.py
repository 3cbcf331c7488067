import pytest
import torch
from torch import Tensor, nn

from autokd.distillation.teacher_copy import TeacherCopy, modules_after, redraw
from autokd.errors import InputError
from search_spaces.architecture.format import Architecture, Node
from search_spaces.networks.network import build

SAMPLES = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


class Crossed(nn.Module):
    """Network whose modules run in another order than they are made, `shared` twice, and `idle` never."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))
        self.last, self.first, self.idle = nn.Linear(6, 3), nn.Linear(6, 6), nn.Linear(6, 6)
        self.shared = nn.Linear(6, 6)
        self.middle = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))
        self.late = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout())

    def forward(self, x: Tensor) -> Tensor:
        x = self.shared(self.first(self.scale * x))
        found: Tensor = self.last(self.shared(self.late(self.middle(x))))
        return found


@pytest.fixture
def network() -> nn.Module:
    return Crossed().eval()


@pytest.mark.parametrize(
    ("layer", "after"),
    [
        ("middle.0", ("middle.1", "late", "late.0", "late.1", "last")),  # within a module that began before
        ("middle", ("late", "late.0", "late.1", "last")),
        ("shared", ("last",)),  # the second time counts
        ("last", ()),
    ],
)
def test_what_runs_only_after_a_layer_is_told_by_running(
    network: nn.Module, layer: str, after: tuple[str, ...]
) -> None:
    assert modules_after(network, layer, SAMPLES) == after
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_layer_that_is_not_there_or_does_not_run_has_nothing_after_it(network: nn.Module) -> None:
    with pytest.raises(InputError, match=r"the teacher has no module 'midle'.*'middle'"):
        modules_after(network, "midle", SAMPLES)
    with pytest.raises(InputError, match="'idle' does not run, so what runs after it cannot be told"):
        modules_after(network, "idle", SAMPLES)


def test_only_the_named_modules_learn_and_are_in_training(network: nn.Module) -> None:
    copy = TeacherCopy(network, ("late", "late.0", "late.1", "last")).train()
    learning = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert learning == {"late.0.weight", "late.0.bias", "last.weight", "last.bias"}
    assert {name for name, module in network.named_modules() if module.training} == {"late", "late.0", "late.1", "last"}
    assert not any(module.training for module in copy.eval().modules())


def test_norms_that_do_not_learn_may_drift(network: nn.Module) -> None:
    copy = TeacherCopy(network, ("last",), drifts=True).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    copy(SAMPLES)
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name.split(".")[0] for name in changed} == {"middle", "late"}
    assert all("running" in name or "tracked" in name for name in changed)
    assert not any(parameter.requires_grad for parameter in network.middle.parameters())
    assert not network.late[1].training  # the dropout


def test_a_parameter_that_is_shared_with_a_module_that_does_not_learn_does_not_learn(network: nn.Module) -> None:
    network.last.weight = network.first.weight
    TeacherCopy(network, ("last",))
    assert (network.last.weight.requires_grad, network.last.bias.requires_grad) == (False, True)


def test_weights_are_drawn_anew_from_the_global_generator(network: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.manual_seed(1)
    redraw(network, ("late", "last"), "start")
    torch.manual_seed(1)
    expected = nn.Linear(6, 3)
    assert torch.equal(network.get_parameter("last.weight"), expected.weight)
    assert all(torch.equal(tensor, before[n]) for n, tensor in network.state_dict().items() if not n.startswith("last"))
    with pytest.raises(InputError, match=r"`start` draws weights anew, but the teacher's module '' \(Crossed\) has no"):
        redraw(network, ("",), "start")


def test_an_earlier_student_whose_sums_are_weighted_is_drawn_anew_as_a_whole() -> None:
    nodes = Node("input", (), 1), Node("conv3x3_bn", (0,), 4), Node("conv3x3_bn", (1,), 4)
    network = build(Architecture((1, 8, 8), 10, (*nodes, Node("classifier", (1, 2), 10, merge="weighted_sum"))))
    before = network.get_parameter("node1.0.weight").clone()
    torch.nn.init.constant_(network.merge_weights, 5.0)
    redraw(network, [name for name, _ in network.named_modules()], "start")
    assert network.merge_weights.tolist() == [1.0, 1.0]
    assert not torch.equal(network.get_parameter("node1.0.weight"), before)
