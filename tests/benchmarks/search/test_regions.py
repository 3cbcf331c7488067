"""The comparison of the trust region's rules, on rows written by hand."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def regions(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(Path(__file__).with_name("regions.py"))


def row(sort: str, values: list[float], worths: list[float]) -> dict[str, Any]:
    return {"key": ["table", sort, 0], "opt": 1.0, "values": values, "worths": worths}


def test_the_regret_is_of_the_best_point_tried_and_of_the_best_value_seen(regions: ModuleType) -> None:
    one = row("own", [0.5, 0.9, 0.8, 2.0], [0.25, 0.5, 0.75, 1.0])
    assert regions.regrets(one, 3) == (0.25, 0.5)
    assert regions.regrets(one, 4) == (0.0, 0.0)


def test_the_report_compares_with_our_own_rules(regions: ModuleType) -> None:
    rows = [row(sort, [0.0] * 100, [worth] * 100) for sort, worth in (("own", 0.9), ("none", 0.8), ("turbo", 0.6))]
    text = "\n".join(regions.report(rows))
    assert (
        "| table | 1 | 0.1000 / 0.1000 | 0.2000 / 0.2000 | 0.4000 / 0.4000 |" in text
    )  # after 60, where all three are
    assert "| ratio to own | | 1.00 | 2.00 | 4.00 |" in text
