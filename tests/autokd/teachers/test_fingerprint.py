import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autokd.teachers.fingerprint import fingerprint


def linear(seed: int = 0) -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Linear(3, 2)


def scaled(images: Tensor, by: float = 1.0) -> Tensor:
    return images * by


class Wrapper:
    def __init__(self, network: nn.Module, scale: float = 1.0) -> None:
        self.network, self.scale = network, scale

    def __call__(self, images: Tensor) -> Any:
        return self.network(images) * self.scale

    def other(self, images: Tensor) -> Any:
        return self.network(images) + self.scale


def closure(network: nn.Module, scale: object = 1.0) -> Callable[[Tensor], Any]:
    return lambda images: network(images) * scale


def defined(source: str, **names: object) -> Callable[[Tensor], Any]:
    """A function as a notebook defines it, again and again under one name."""
    exec(source, names)
    return names["teacher"]  # type: ignore[return-value]


def test_a_module_is_named_by_its_class() -> None:
    assert fingerprint(linear(0)) == fingerprint(linear(1)) == "torch.nn.modules.linear:Linear"


MADE: list[Callable[[], Callable[..., Any]]] = [
    lambda: scaled,
    lambda: partial(scaled, by=2.0),
    lambda: partial(scaled, by=3.0),
    lambda: closure(linear(0)),
    lambda: closure(linear(1)),
    lambda: closure(linear(0), 2.0),
    lambda: closure(linear(0), torch.ones(2)),
    lambda: closure(linear(0), torch.zeros(2)),
    lambda: closure(linear(0), np.ones(2)),
    lambda: closure(linear(0), [linear(2)]),
    lambda: closure(linear(0), {"a": linear(1)}),
    lambda: Wrapper(linear(0)),
    lambda: Wrapper(linear(1)),
    lambda: Wrapper(linear(0), 2.0),
    lambda: Wrapper(linear(0)).other,
    lambda: Wrapper(linear(1)).other,
    lambda: defined("def teacher(images): return network(images)", network=linear(0)),
    lambda: defined("def teacher(images): return network(images)", network=linear(1)),
    lambda: defined("def teacher(images): return network(images) + 1", network=linear(0)),
    lambda: defined("def teacher(images): return network(images) + 2", network=linear(0)),
    lambda: defined("def teacher(images): return network(inner(images))", network=linear(0), inner=closure(linear(3))),
    lambda: defined("def teacher(images): return network(inner(images))", network=linear(0), inner=closure(linear(4))),
]


def test_callables_that_teach_differently_have_different_names() -> None:
    names = [fingerprint(make()) for make in MADE]
    assert names == [fingerprint(make()) for make in MADE]
    assert len(set(names)) == len(MADE)


def test_where_a_function_stands_and_what_its_comments_say_does_not_matter() -> None:
    sources = [
        "def teacher(images):\n    return images",
        "\n\n# moved\ndef teacher(images):\n    return images  # said",
    ]
    assert len({fingerprint(defined(source)) for source in sources}) == 1


def test_a_callable_that_holds_itself_has_a_name() -> None:
    wrapper = Wrapper(linear())
    wrapper.network = wrapper  # type: ignore[assignment]
    assert ":Wrapper " in fingerprint(wrapper)


@pytest.mark.slow  # starts two interpreters, which import torch
def test_the_name_is_the_same_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def teacher(images):\n    return images if 'a' in {'a', 'b', 'c'} else None\n")
    code = "import mine\nfrom autokd.teachers.fingerprint import fingerprint\nprint(fingerprint(mine.teacher))"
    names = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(names) == 1
    assert names.pop().startswith("mine:teacher ")
