"""A teacher that is an ONNX file, a callable or stored outputs has no MACs, and maybe no parameters, that are known."""

import json
from pathlib import Path
from typing import Any

import pytest

from autokd.database.models import Search
from autokd.searches.workspace import Workspace


@pytest.fixture
def forget(home: Path) -> Any:
    """Records that these costs of the teacher are unknown."""

    def without(*names: str) -> Path:
        with Workspace(home).open() as store, store.transaction() as session:
            search = session.query(Search).one()
            search.facts = {**search.facts, **{f"teacher_{name}": None for name in names}}
        return home

    return without


def row_of(text: str, first: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.strip().startswith(first))


def test_best_has_a_dash_for_macs_that_are_unknown(invoke: Any, forget: Any) -> None:
    outcome = invoke("best", "digits", "--home", forget("macs"))
    assert (outcome.code, outcome.err) == (0, "")
    assert row_of(outcome.out, "teacher")[1:4] == ["77.8", "k", "-"]
    assert row_of(outcome.out, "times smaller")[2:][1] == "-"
    assert float(row_of(outcome.out, "times smaller")[2]) > 10


def test_best_has_dashes_where_nothing_is_known_of_the_teacher(invoke: Any, forget: Any) -> None:
    outcome = invoke("best", "digits", "--home", forget("macs", "params"))
    assert (outcome.code, outcome.err) == (0, "")
    assert row_of(outcome.out, "times smaller") == ["times", "smaller", "-", "-"]


def test_unknown_costs_are_null_in_json(invoke: Any, forget: Any) -> None:
    found = json.loads(invoke("best", "digits", "-o", "json", "--home", forget("macs", "params")).out)
    assert (found["teacher_macs"], found["teacher_params"]) == (None, None)


@pytest.mark.parametrize("verb", ["resume", "train", "status", "list"])
def test_every_end_of_a_search_shows_an_unknown_cost(invoke: Any, forget: Any, verb: str) -> None:
    words = [] if verb == "list" else ["digits"]
    outcome = invoke(verb, *words, "--home", forget("macs", "params"))
    assert (outcome.code, outcome.err) == (0, "")
