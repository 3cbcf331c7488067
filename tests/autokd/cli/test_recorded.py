"""Searches that an earlier version recorded go on, and show the figures that they showed."""

import json
import os
import tarfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from html_pages import Page
from safetensors.torch import load_file

from autokd.database.store import Store

ARCHIVE = Path(__file__).parents[2] / "data" / "recorded-0.1.0.tar.gz"
RENAMED = {"signal": "fidelity_metric"}  # in answers, since version 0.1.0
TIMES = {"created_at", "finished_at"}  # have a T between date and time since then
ESTIMATES = {"mean": 1e-6}  # of a model: sums differ between processors
CALIBRATED = {"probability_best": 1.0, "deviation": 0.1}  # are other numbers since they are calibrated, at most these


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an earlier version's searches, which is the current one."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOKD_HOME", "runs")
    monkeypatch.delenv("AUTOKD_DATABASE", raising=False)
    return tmp_path


def expected(name: str) -> Any:
    return json.loads(Path("expected", f"{name}.json").read_text())


def check_contains(found: Any, old: Any, where: str = "") -> None:
    """All that the earlier version said is said, with the same values; more may be said."""
    if isinstance(old, dict):
        for key, value in ((RENAMED.get(key, key), value) for key, value in old.items()):
            assert key in found, f"{where}.{key}"
            check_contains(found[key], value, f"{where}.{key}")
    elif isinstance(old, list):
        assert len(found) == len(old), where
        for position, (new, value) in enumerate(zip(found, old, strict=True)):
            check_contains(new, value, f"{where}[{position}]")
    elif (name := where.rpartition(".")[2]) in CALIBRATED:
        assert 0 <= found <= CALIBRATED[name], where
    elif name in TIMES:
        assert datetime.fromisoformat(found) == datetime.fromisoformat(old), where
    elif name in ESTIMATES:
        assert found == pytest.approx(old, rel=1e-6, abs=ESTIMATES[name]), where
    else:
        assert found == old, where


@pytest.mark.parametrize(("name", "words"), [("best", ()), ("families", ()), ("show", (2,))])
@pytest.mark.usefixtures("recorded")
def test_a_finished_search_shows_the_same_figures(invoke: Any, name: str, words: tuple[int, ...]) -> None:
    done = invoke(name, "finished", *words, "-o", "json")
    assert done.code == 0, done.err
    check_contains(json.loads(done.out), expected(name))


@pytest.mark.slow  # draws pictures
@pytest.mark.parametrize("name", ["finished", "interrupted"])
@pytest.mark.usefixtures("recorded")
def test_a_search_has_a_report(invoke: Any, name: str) -> None:
    done = invoke("report", name, "report")
    assert done.code == 0, done.err
    assert f"autokd export {name} FOLDER" in Page(Path("report/index.html").read_text()).text


@pytest.mark.slow  # reloads the student in a fresh interpreter
@pytest.mark.usefixtures("recorded")
def test_its_export_still_verifies(invoke: Any) -> None:
    done = invoke("verify", "exported", "-o", "json")
    assert done.code == 0, done.err


@pytest.mark.slow  # reloads the student in a fresh interpreter
@pytest.mark.usefixtures("recorded")
def test_it_is_exported_as_it_was(invoke: Any) -> None:
    done = invoke("export", "finished", "again", "-o", "json")
    assert done.code == 0, done.err
    old, new = (load_file(Path(folder, "weights.safetensors")) for folder in ("exported", "again"))
    assert old.keys() == new.keys()
    assert all(old[name].equal(new[name]) for name in old)
    metrics = [json.loads(Path(folder, "manifest.json").read_text())["metrics"] for folder in ("exported", "again")]
    assert metrics[0] == metrics[1]
    graphs = [json.loads(Path(folder, "architecture.json").read_text()) for folder in ("exported", "again")]
    assert graphs[0] == graphs[1]


@pytest.mark.slow  # trains four trials
@pytest.mark.usefixtures("recorded")
def test_an_interrupted_search_resumes_as_the_earlier_version_did(invoke: Any) -> None:
    with Store(Path("runs/autokd.db"), create=False) as store:
        before = store.evaluations(store.search("interrupted").id)
    outputs = sorted(os.listdir("runs/teachers"))
    done = invoke("resume", "interrupted", "--set", "workers.engine=inline")
    assert done.code == 0, done.err
    with Store(Path("runs/autokd.db"), create=False) as store:
        search = store.search("interrupted").id
        after, trials = store.evaluations(search), store.trials(search)
    finished = [row for row in before if row.state == "complete"]
    assert [row for row in after if row.id in {row.id for row in finished}] == finished
    assert sorted(os.listdir("runs/teachers")) == outputs
    old = expected("resumed")
    assert {trial.number: dict(trial.parameters) for trial in trials} == {
        row["number"]: row["parameters"] for row in old
    }
    assert {row.key for row in after if row.rung == 0} == {row["key"] for row in old if row["rung"] == 0}
