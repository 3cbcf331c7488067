"""The package's own description: what it depends on, what its extras bring, and what is shipped."""

import tomllib
from pathlib import Path
from typing import Any

from autokd.core.extras import EXTRAS

ROOT = Path(__file__).parent.parent
FOR_DEVELOPERS = {"docs", "test"}


def project() -> dict[str, Any]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])


def test_doctor_and_errors_know_exactly_the_extras_that_can_be_installed() -> None:
    offered = project()["optional-dependencies"]
    assert set(EXTRAS) == set(offered) - FOR_DEVELOPERS
    for extra, package in EXTRAS.items():
        assert any(requirement.startswith(package) for requirement in offered[extra]), extra
