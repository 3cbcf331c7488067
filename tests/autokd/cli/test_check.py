"""A search that is looked at before it begins."""

import json
from pathlib import Path
from typing import Any

import pytest

SHORT = ("--set", "space.name=nago", "--set", "training.precision=float32")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A search whose budget is still to be chosen."""
    data, teacher = ("[data]", 'source = "digits"'), ("[teacher]", 'factory = "autokd.recipes.teachers:digits"')
    lines = (*data, *teacher, 'weights = "autokd.recipes:digits.safetensors"')
    (tmp_path / "search.toml").write_text("\n".join(lines))
    return tmp_path / "search.toml"


def test_without_a_budget_is_told_what_the_teacher_costs(invoke: Any, file: Path, tmp_path: Path) -> None:
    outcome = invoke("check", file, *SHORT, "-o", "json", "--home", tmp_path / "home")
    assert outcome.code == 0
    told = json.loads(outcome.out)
    assert (told["teacher"]["params"], told["teacher"]["macs"], told["classes"]) == (77754, 763520, 10)
    assert told["budget"] == {"params": 77754}
    offers = {offer["limit"]: offer for offer in told["offers"]}
    assert 0.9 * 77754 < offers["params"]["typical"] <= 77754
    assert "teacher  99.33 % validation accuracy, 77.8 k parameters" in outcome.err
    assert not (tmp_path / "home").exists()


def test_a_limit_of_the_command_line_is_the_budget(invoke: Any, file: Path, tmp_path: Path) -> None:
    outcome = invoke("check", file, *SHORT, "--set", "budget.macs=20000", "-o", "json", "--home", tmp_path / "home")
    assert json.loads(outcome.out)["budget"] == {"macs": 20000}


def test_what_a_search_would_refuse_is_refused(invoke: Any, tmp_path: Path) -> None:
    settings = (*SHORT, "--set", "budget.params=10", "--home", tmp_path / "home")
    checked, searched = (invoke(verb, "digits", *settings) for verb in ("check", "search"))
    assert (checked.code, checked.out, checked.err) == (searched.code, searched.out, searched.err)
    assert checked.code == 3
