"""A teacher that is an ONNX file, a callable or stored outputs has no MACs, and maybe no parameters, that are known."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from html_pages import Page

from autokd.config.teacher import TeacherConfig
from autokd.database.models import Search
from autokd.searches.workspace import Workspace
from autokd.teachers.registry import load_teacher


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


@pytest.mark.slow  # draws pictures
def test_a_report_has_dashes_where_nothing_is_known_of_the_teacher(invoke: Any, forget: Any) -> None:
    names = ("macs", "params", "activation_bytes", "model_bytes")
    outcome = invoke("report", "digits", "out", "--home", forget(*names))
    assert (outcome.code, outcome.err) == (0, "")
    page = Page(Path("out/index.html").read_text())
    teacher, student = (page.tables["networks"][name] for name in ("teacher", "student"))
    assert len(teacher) == len(student) - 6  # five costs, and the epochs
    assert "nan" not in page.text.lower()


@pytest.mark.slow  # torch writes the file of a network
def test_a_search_with_an_onnx_teacher_ends_with_its_table(invoke: Any, tiny: tuple[str, ...], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    config = TeacherConfig(factory="autokd.recipes.teachers:digits", weights="autokd.recipes:digits.safetensors")
    network = load_teacher(config, torch.device("cpu")).network
    assert network is not None
    network = network.to(memory_format=torch.contiguous_format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (torch.zeros(2, 1, 8, 8),), "t.onnx", dynamo=False, dynamic_axes={"x": [0]}, input_names=["x"]
        )
    words = ("--set", "teacher={onnx='t.onnx', floor=0.9}", "--set", "trials=1")
    outcome = invoke("search", "digits", *tiny, *words, "--home", tmp_path / "home")
    assert (outcome.code, outcome.err) == (0, "")
    assert row_of(outcome.out, "times smaller")[3] == "-"
    assert "Train it at full length" in outcome.out
    assert invoke("train", "digits", "--home", tmp_path / "home").code == 0
