"""What tests of searches share: problems of the digits recipe."""

from collections.abc import Callable
from pathlib import Path

import pytest

from autokd.config.schema import SearchConfig
from autokd.config.toml import override_config
from autokd.recipes.catalogue import find_config
from autokd.searches.preflight import find_facts
from autokd.searches.problem import Problem
from autokd.teachers.registry import Teacher


@pytest.fixture
def config() -> SearchConfig:
    return override_config(find_config("digits", []), ["workers.device=cpu"])


@pytest.fixture
def problem_of() -> Callable[..., Problem]:
    """Makes problems of a configuration with small networks of `nago`; further settings may be given."""

    def make(config: SearchConfig, *overrides: str, teacher: Teacher | None = None) -> Problem:
        config = override_config(
            config, ["space={name='nago', ranges={top_nodes=3, middle_nodes=1, bottom_nodes=3}}", *overrides]
        )
        return Problem(config, find_facts(config, teacher), Path("home"))

    return make
