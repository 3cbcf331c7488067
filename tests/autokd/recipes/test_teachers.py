import json
from collections.abc import Callable

import pytest
import torch
from torch import nn

from autokd.recipes.catalogue import find_config, recipe_path
from autokd.recipes.teachers import ResidualTeacher, digits, fashion_mnist


@pytest.mark.parametrize(("factory", "size"), [(digits, 8), (fashion_mnist, 28)])
def test_a_teacher_gives_a_logit_for_each_class(factory: Callable[[], nn.Module], size: int) -> None:
    assert factory().eval()(torch.zeros(2, 1, size, size)).shape == (2, 10)


def test_the_resolution_is_halved_where_the_width_changes() -> None:
    teacher = ResidualTeacher(1, 10, widths=(4, 4, 8, 16)).eval()
    shapes = []
    for block in teacher.blocks:
        block.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    teacher(torch.zeros(1, 1, 16, 16))
    assert shapes == [(4, 16, 16), (4, 16, 16), (8, 8, 8), (16, 4, 4)]


def test_the_digits_teacher_matches_its_recorded_results() -> None:
    facts = json.loads(recipe_path("digits").with_suffix(".json").read_text())
    assert sum(parameter.numel() for parameter in digits().parameters()) == facts["parameters"]
    assert facts["validation"]["accuracy"] >= find_config("digits", []).teacher.floor
