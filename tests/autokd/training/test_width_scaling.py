import pytest
from torch import nn

from autokd.distillation.pruning import prune_globally
from autokd.training.loop import TrainingSettings, optimiser
from autokd.training.width_scaling import rate_factors


def network(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, width, 3, bias=False),  # 0, reads the sample
        nn.BatchNorm2d(width),  # 1
        nn.Conv2d(width, width, 3, bias=False),  # 2
        nn.Conv2d(width, width, 3, groups=width, bias=False),  # 3, depthwise
        nn.Linear(width, 10),  # 4, the classifier
    )


@pytest.mark.parametrize(("width", "factor"), [(16, 4.0), (64, 1.0), (256, 0.25), (2, 8.0), (4096, 0.125)])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_factor_of_the_classifier_decreases_with_its_inputs_within_bounds(
    width: int, factor: float, optimizer
) -> None:
    student = network(width)
    assert rate_factors(student, optimizer)[student[4].weight] == factor


@pytest.mark.parametrize(("optimizer", "hidden"), [("sgd", 1.0), ("adamw", 2.0)])
def test_factors_of_hidden_kernels_depend_on_the_width_with_adamw_only(optimizer, hidden: float) -> None:
    student = network(32)
    factors = rate_factors(student, optimizer)
    assert factors[student[2].weight] == hidden
    others = [student[0].weight, student[1].weight, student[1].bias, student[3].weight, student[4].bias]
    assert [factors[parameter] for parameter in others] == [1.0] * 5


def test_rate_times_decay_is_the_same_in_all_groups_that_decay() -> None:
    groups = optimiser(TrainingSettings(width_scaling=True, weight_decay=0.01), network(16)).param_groups
    assert sorted(group["factor"] for group in groups) == [1.0, 1.0, 4.0]
    products = [group["factor"] * group["weight_decay"] for group in groups if group["weight_decay"]]
    assert products == pytest.approx([0.01, 0.01])


def test_other_modules_than_the_network_have_a_factor_of_one() -> None:
    other = nn.Linear(256, 4)
    groups = optimiser(TrainingSettings(width_scaling=True), network(64), other).param_groups
    assert {group["factor"] for group in groups} == {1.0}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_masks_do_not_change_the_factors(optimizer) -> None:
    dense, pruned = network(16), network(16)
    prune_globally(pruned, 0.2)
    expected = rate_factors(dense, optimizer)
    found = rate_factors(pruned, optimizer)
    by_name = {name.removesuffix("_orig"): found[parameter] for name, parameter in pruned.named_parameters()}
    assert by_name == {name: expected[parameter] for name, parameter in dense.named_parameters()}
    assert len(found) == len(by_name)
