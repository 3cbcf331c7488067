"""Every search space, from the command line to an exported student."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from search_spaces.design.registry import known_spaces

SMALL: dict[str, dict[str, object]] = {
    "blocks": {"stage1_depth": 1, "stage2_depth": 1},
    "darts": {"cells": 4},
    "enas-macro": {"layers": [3, 5]},
    "enas-micro": {"cells": 4},
    "like-teacher": {},
    "nago": {"top_nodes": 3, "middle_nodes": 1, "merge": ["concat", "attention"]},
    "nasbench101": {"modules": 1},
    "nasbench201": {"cells": 1},
    "networkx": {"nodes": 6, "generator": "watts_strogatz_graph", "watts_strogatz_k": 2},
    "randwire": {"nodes": 8, "ba_edges": [1, 4]},
    "sequential": {"top_nodes": 3, "middle_nodes": 1},
}
FIXED = {
    "nasbench101": {"modules": 1, "width": 8},
    "nasbench201": {"cells": 1, "width": 4},
}


def settings(space: str, ranges: Mapping[str, object], params: int) -> list[str]:
    """Two trials of one epoch, in this process."""
    values = {
        "trials": 2,
        "budget.params": params,
        "space.name": space,
        "space.ranges": ranges,
        "training.rungs": [1],
        "training.precision": "float32",  # measured, it may differ from one run to the next
        "training.views": 1,
        "data.subset": 400,
        "final.epochs": 4,
        "final.families": 1,
        "workers.engine": "inline",
        "workers.count": 1,
    }
    return [word for key, value in values.items() for word in ("--set", f"{key}={_toml(value)}")]


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + "}"
    return json.dumps(value)


def test_every_known_space_is_tried_here() -> None:
    assert set(SMALL) == set(known_spaces())


@pytest.mark.slow  # trains three small students for an epoch or four
@pytest.mark.parametrize("space", SMALL)
def test_a_search_of_the_space_ends_with_an_exported_student(invoke, tmp_path: Path, space: str):
    home, folder = tmp_path / "home", tmp_path / "student"
    words = ("search", "digits", *settings(space, SMALL[space], 7_700), "--export", folder, "--home", home)
    outcome = invoke(*words)
    assert (outcome.code, outcome.err) == (0, ""), outcome.err
    trials = [json.loads(invoke("show", "digits", n, "-o", "json", "--home", home).out) for n in range(2)]
    assert [trial["trial"]["state"] for trial in trials] == ["complete", "complete"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert 0.9 * 7_700 < manifest["cost"]["params"] <= 7_700
    assert manifest["metrics"]["accuracy"] > 0.2


@pytest.mark.slow  # trains three small students for an epoch or four
@pytest.mark.parametrize("space", FIXED)
def test_at_a_fixed_width_every_trial_is_made_to_fit(invoke, tmp_path: Path, space: str):
    words = ("search", "digits", *settings(space, FIXED[space], 7_700), "--set", "trials=4", "--home", tmp_path)
    assert invoke(*words).code == 0
    trials = [json.loads(invoke("show", "digits", n, "-o", "json", "--home", tmp_path).out) for n in range(4)]
    assert [trial["trial"]["state"] for trial in trials] == ["complete"] * 4
