"""What tests of searches share: problems of the digits recipe, and small searches of objects."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_searches import SETTINGS, Bands

import autokd
from autokd.config.schema import SearchConfig
from autokd.config.toml import override_config
from autokd.data.dataset import Dataset
from autokd.recipes.catalogue import find_config
from autokd.searches.preflight import find_facts
from autokd.searches.problem import Problem
from autokd.searches.workspace import Workspace
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


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home")


@pytest.fixture
def search(home: Workspace, dataset: Dataset) -> Callable[..., autokd.SearchResult]:
    """A tiny search of a teacher object on data in memory; every argument may be given."""

    def run(**changes: Any) -> autokd.SearchResult:
        return autokd.search(**{"teacher": Bands(), "data": dataset, "home": home.folder, **SETTINGS, **changes})

    return run
