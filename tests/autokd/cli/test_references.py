"""What is said of references, by one small search that trained two of them at full length, too."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from html_pages import Page

from autokd.searches.api import find
from autokd.searches.problem import Problem

pytestmark = pytest.mark.slow  # a search, once


@pytest.fixture(scope="module")
def compared(invoke: Any, tiny: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the search `digits`, whose winner and references are trained, and the winner exported."""
    home = tmp_path_factory.mktemp("compared")
    changes = ('references.names=["resnet", "no-teacher"]', "references.final=all", "final.families=1", "trials=2")
    words = [word for change in changes for word in ("--set", change)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Problem, "references", property(lambda problem: problem.config.references.names))
        outcome = invoke("search", "digits", *tiny, *words, "--home", home, "--export", home / "exported")
    assert (outcome.code, outcome.err) == (0, "")
    (home / "out.txt").write_text(outcome.out)
    return home


@pytest.fixture
def answer(invoke: Any, compared: Path) -> Callable[..., Any]:
    def ask(*words: str) -> Any:
        outcome = invoke(*words, "-o", "json", "--home", compared)
        assert (outcome.code, outcome.err) == (0, "")
        return json.loads(outcome.out)

    return ask


def test_the_end_of_a_search_shows_references_beside_the_student_and_who_is_better(compared: Path) -> None:
    lines = (compared / "out.txt").read_text().splitlines()
    starts = [line.split("  ")[0].strip() for line in lines]
    assert starts.index("student") < starts.index("times smaller") < starts.index("resnet")
    assert "no-teacher" in starts
    (heads,) = [line.split() for line in lines if {"teacher", "resnet", "no-teacher"} <= {*line.split()}]
    (sizes,) = [line for line in lines if line.strip().startswith("activation_bytes") and line.count("k") >= 4]
    assert heads[:2] == ["teacher", "student"]
    assert sizes
    (line,) = [line for line in lines if line.startswith("compared")]
    assert "better than the best reference trained as long (" in line
    assert "points (test, 2 epochs)" in line


def test_the_numbers_of_a_report_are_those_of_best(answer: Callable[..., Any], tmp_path: Path) -> None:
    best, page = answer("best", "digits"), Page(Path(answer("report", "digits", str(tmp_path))["file"]).read_text())

    def row(costs: Any, metrics: Any, test: float, epochs: float | None) -> list[float]:
        sizes = ("params", "macs", "activation_bytes", "model_bytes", "memory_bytes")
        figures = (metrics[name] for name in ("loss", "ece", "ece_scaled"))
        found = [test, metrics["accuracy"], *(costs[size] for size in sizes), epochs, *figures]
        return [figure for figure in found if figure is not None]

    teacher = best["axes"]["lightness"]["teacher"] | {"macs": best["teacher_macs"]}
    rows = {
        "teacher": row(teacher, best["teacher_metrics"], best["teacher_test_metrics"]["accuracy"], None),
        "student": row(best, best["metrics"], best["metrics"]["test_accuracy"], best["epochs"]),
    }
    for one in best["references"]:
        costs = one | {"memory_bytes": one["model_bytes"] + one["activation_bytes"]}
        rows[one["name"]] = row(costs, one["metrics"], one["metrics"]["test_accuracy"], one["epochs"])
    assert page.tables["networks"] == rows
    limits = best["limits"]
    assert page.tables["limits"] == {
        name: [allowed, best[name], limits["used"][name]] for name, allowed in limits["allowed"].items()
    }
    comparison = best["comparison"]
    assert f"{100 * comparison['difference']:+.2f} ± {100 * comparison['margin']:.2f} points" in page.text


def test_the_same_is_said_in_json_in_python_and_in_the_manifest(answer: Callable[..., Any], compared: Path) -> None:
    best, result = answer("best", "digits"), find("digits", compared)
    manifest = json.loads((compared / "exported" / "manifest.json").read_text())
    comparison = result.compare()
    assert comparison is not None
    assert best["comparison"] == manifest["comparison"] == comparison.to_dict()
    assert best["references"] == manifest["references"]
    assert [row["name"] for row in best["references"]] == [one.trial.reference for one in result.references]
    accuracies = {row["name"]: row["metrics"]["test_accuracy"] for row in best["references"]}
    ours = best["metrics"]["test_accuracy"]
    assert comparison.difference == pytest.approx(ours - accuracies[comparison.reference])


def test_status_and_show_know_references_by_their_names(answer: Callable[..., Any], compared: Path) -> None:
    status = answer("status", "digits")
    assert [(one["name"], one["state"]) for one in status["references"]] == [
        ("resnet", "complete"),
        ("no-teacher", "complete"),
    ]
    assert status["complete"] + status["pruned"] == status["trials"] == 2
    shown = answer("show", "digits", "resnet")
    assert shown["trial"]["reference"] == "resnet"
    assert shown["family"].startswith("1 basic at 1, ")
    assert answer("show", "digits", "no-teacher")["family"].startswith("the student of trial ")
    assert answer("show", "digits", "0")["comparison"]["split"] == "validation"


def test_status_tells_the_full_length_trainings_apart(invoke: Any, compared: Path) -> None:
    shown = invoke("status", "digits", "--home", compared).out.splitlines()
    lines = [line for line in shown if line.startswith("full length")]
    names = [re.sub(r"full length +|:.*", "", line) for line in lines]
    assert len(set(names)) == len(names) > 1
    assert any(name.startswith("reference ") for name in names)


def test_a_study_has_the_accuracies_that_references_reached_in_the_search(
    answer: Callable[..., Any], tmp_path: Path
) -> None:
    answer("study", "digits", str(tmp_path / "study.db"))
    study = optuna.load_study(study_name="digits", storage=f"sqlite:///{tmp_path}/study.db")
    assert study.user_attrs["references"] == {
        one["name"]: one["accuracy"] for one in answer("status", "digits")["references"]
    }
    assert study.user_attrs["references"].keys() == {"resnet", "no-teacher"}  # both are trained at full length, too


def test_a_reference_is_exported_like_a_student(compared: Path, tmp_path: Path) -> None:
    result = find("digits", compared)
    resnet = next(one for one in result.references if one.trial.reference == "resnet")
    result.export(tmp_path / "reference", resnet)
    manifest = json.loads((tmp_path / "reference" / "manifest.json").read_text())
    assert manifest["distillation"] == {"method": "kd", "temperature": 4.0, "weight": 0.9}
    assert manifest["family"]["space"] == "blocks"
    assert manifest["comparison"] is None
    assert (manifest["training"]["trial"], manifest["training"]["reference"]) == (None, "resnet")


@pytest.mark.parametrize("trial", ["resnet", "0"])
def test_show_is_text_too(invoke: Any, compared: Path, trial: str) -> None:
    outcome = invoke("show", "digits", trial, "--home", compared)
    assert outcome.code == 0
    assert ("compared" in outcome.out) == (trial == "0")


def test_what_is_no_trial_and_no_reference_is_one_line(invoke: Any, compared: Path) -> None:
    outcome = invoke("show", "digits", "vgg", "--home", compared)
    message = "autokd: search 'digits' has no trial vgg: there are 0..1, resnet, no-teacher.\n"
    assert (outcome.code, outcome.err) == (2, message)
