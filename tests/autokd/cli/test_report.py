"""The report of a small search that is finished."""

import hashlib
import json
import re
import shutil
import sqlite3
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from html_pages import Page

from autokd.analysis.evidence import evidence, set_against
from autokd.searches.api import find

pytestmark = pytest.mark.slow  # pictures take a second, and the search before them more

SCRIPT = "<script>alert(1)<b>"


@pytest.fixture(scope="module")
def file(invoke: Any, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    assert invoke("report", "digits", folder, "--home", finished).code == 0
    return folder / "index.html"


@pytest.fixture(scope="module")
def page(file: Path) -> Page:
    return Page(file.read_text())


def test_a_report_needs_no_network_and_runs_no_script(page: Page) -> None:
    assert {link for link in page.links if not link.startswith(("#", "data:"))} == set()
    assert page.tags.isdisjoint({"script", "link", "iframe", "object", "embed", "base"})


def test_every_id_is_there_once_and_every_reference_to_one_finds_it(page: Page) -> None:
    assert [name for name, n in Counter(page.ids).items() if n > 1] == []
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert len(page.links) > 20


def test_a_report_tells_all_that_decides(page: Page, finished: Path) -> None:
    result = find("digits", finished)
    facts = result.row.facts
    said = [facts["data_digest"], facts["teacher_digest"], result.row.config_digest, result.best.row.digest]
    said += [f"torch {facts['versions']['torch']}", "params ≤ 7,700", result.families[0].description]
    said += ["History", "Learning curves", "Accuracy against params", "Accuracy against macs", "autokd export digits"]
    assert [words for words in said if words not in page.text] == []


def test_the_times_of_a_report_are_those_of_the_search(page: Page, finished: Path) -> None:
    times = vars(find("digits", finished).times)
    assert page.tables["times"] == {part.replace("_", " "): [seconds] for part, seconds in times.items()}


def test_the_same_rows_are_the_same_page_which_replaces_itself(invoke: Any, finished: Path, file: Path) -> None:
    before = file.read_bytes()
    answer = json.loads(invoke("report", "digits", file.parent, "-o", "json", "--home", finished).out)
    assert file.read_bytes() == before
    assert answer == {
        "file": str(file),
        "search": "digits",
        "bytes": len(before),
        "sha256": hashlib.sha256(before).hexdigest(),
    }


def test_another_page_is_not_replaced(invoke: Any, finished: Path) -> None:
    Path("site").mkdir()
    Path("site/index.html").write_text("<p>mine</p>")
    outcome = invoke("report", "digits", "site", "--home", finished)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "autokd: site/index.html is no report of AutoKD and is not replaced: choose another folder.\n"
    assert Path("site/index.html").read_text() == "<p>mine</p>"


def test_no_name_and_no_reason_of_the_database_is_markup(invoke: Any, home: Path) -> None:
    with sqlite3.connect(home / "autokd.db") as connection:
        connection.execute("UPDATE searches SET name = ?", [SCRIPT])
        connection.execute("UPDATE trials SET state = 'failed', value = NULL, reason = ? WHERE number = 1", [SCRIPT])
    connection.close()
    (home / "searches" / "digits").rename(home / "searches" / SCRIPT)
    outcome = invoke("report", SCRIPT, "out", "--home", home)
    assert outcome.code == 0, outcome.err
    page = Page(Path("out/index.html").read_text())
    assert "script" not in page.tags
    assert page.text.count(SCRIPT) >= 3  # the title, the heading, and the reason


def test_a_search_without_a_student_has_no_report(invoke: Any, home: Path) -> None:
    with sqlite3.connect(home / "autokd.db") as connection:
        connection.execute("UPDATE evaluations SET state = 'failed', metrics = NULL, reason = 'none'")
    connection.close()
    outcome = invoke("report", "digits", "out", "--home", home)
    assert (outcome.code, outcome.err) == (2, "autokd: search 'digits' has no trained student yet.\n")
    assert not Path("out").exists()


def test_accuracy_can_be_set_against_any_cost(finished: Path) -> None:
    result = find("digits", finished)
    shown = set_against(evidence(result), result.leading, "macs", result.mean_costs("macs"))
    costs = {record.trial.number: record.costs(["macs"]) for record in result.trials}
    assert {outcome.number: outcome.costs for outcome in shown.outcomes} == costs
    assert {student.row.id for student in shown.finals} == {one.row.id for one in result.students if one.is_final}


def test_a_plot_can_be_a_page(invoke: Any, finished: Path) -> None:
    assert invoke("plot", "digits", "out.html", "--home", finished).code == 0
    page = Page(Path("out.html").read_text())
    assert {"History", "Importance", "Rung correlation"} <= set(re.findall(r"[A-Z][a-z]+(?: [a-z]+)*", page.text))
    assert {link for link in page.links if not link.startswith("#")} == set()


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_a_browser_shows_the_report_and_complains_of_nothing(file: Path, page: Page) -> None:
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    done = subprocess.run([*command, file.as_uri()], capture_output=True, text=True, check=True, timeout=120)
    assert "CONSOLE" not in done.stderr  # what it blocks or cannot load
    assert sorted(Page(done.stdout).ids) == sorted(page.ids)
