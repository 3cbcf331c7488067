"""A walk through the page in a real browser: from an empty folder to a student that was downloaded."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from autokd.database.queue import jobs
from autokd.export.verification import verify_folder
from autokd.searches.tables import table
from autokd.searches.workspace import Workspace
from autokd.service.pages.rendering import render
from autokd.service.pages.shell import send_file

CHROMIUM = shutil.which("chromium")
MILLISECONDS = 150_000  # until what does not happen fails a test, on a machine that is busy with others
SETTINGS = """\
training.rungs = [1, 2]
training.views = 1
training.precision = "float32"
workers.engine = inline
workers.count = 1
references.names = "none"
space.name = "nago"
"""

pytestmark = [
    pytest.mark.slow,  # a browser, a service, and two processes of a search
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What `autokd serve` prints of itself."""
    home = tmp_path_factory.mktemp("home")
    command = [sys.executable, "-m", "autokd", "serve", "--port", "0", "--home", str(home)]
    with subprocess.Popen([*command, "-o", "json"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = ""
        while not printed.endswith("}\n"):
            printed += process.stdout.readline()
        yield json.loads(printed)
        process.terminate()
    with Workspace(home).open(create=True) as store:
        for job in jobs(store, 9, "running"):  # which outlives the service, if the test failed
            os.kill(job.lease_pid or 0, signal.SIGKILL)


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a browser, which complains of nothing."""
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(accept_downloads=True)
        page.set_default_timeout(MILLISECONDS)
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page
        browser.close()
    assert complaints == []


def shown(page: Page, text: str) -> None:
    """Wait until the page shows a text."""
    expect(page.get_by_text(text).first).to_be_visible(timeout=MILLISECONDS)


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def done(page: Page) -> float:
    """The share of the search on the page that is done."""
    return float(page.get_by_label("Share of the search that is done").get_attribute("value") or 0)


def wait_until_more_end(page: Page) -> None:
    page.wait_for_function("n => document.querySelector('progress')?.value > n", arg=done(page))


def check_looks(page: Page) -> None:
    """The page fits the windows of a desk and of a telephone, and follows the browser's light or dark mode."""
    papers = set()
    for width in (1280, 360):
        for scheme in ("light", "dark"):
            page.set_viewport_size({"width": width, "height": 700})
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            papers.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(papers) == 2


def save_export(page: Page, folder: Path) -> Path:
    """Save the zip of the export by its button, and return the folder that was in it."""
    with page.expect_download() as saving:
        press(page, "first.zip")
    saving.value.save_as(folder / "first.zip")
    with ZipFile(folder / "first.zip") as archive:
        archive.extractall(folder)
    return folder / "first"


def test_a_search_is_begun_watched_stopped_resumed_exported_and_loaded(
    page: Page, service: dict[str, Any], tmp_path: Path
) -> None:
    page.goto(service["page"])
    shown(page, "There is no search yet")
    assert page.url == f"{service['url']}/"  # without the token

    page.get_by_role("link", name="New search").press("Enter")
    page.get_by_label("Name").fill("first")
    page.get_by_label("Trials").fill("500")
    page.get_by_text("Further settings").click()
    page.get_by_label("One key = value a line").fill(SETTINGS)
    page.get_by_label("params").first.fill("5000")
    shown(page, "5,000")
    check_looks(page)
    press(page, "Begin the search")

    shown(page, "of 500 trials")
    wait_until_more_end(page)
    expect(page.locator("#workers td progress").first).to_be_visible(timeout=MILLISECONDS)
    expect(page.locator("dt", has_text="controller")).to_be_visible(timeout=MILLISECONDS)
    expect(page.locator("dt", has_text="running")).to_have_count(0)  # what is trained is told once
    press(page, "Stop after the running trials")
    shown(page, "interrupted")
    before = done(page)
    press(page, "Resume")
    page.wait_for_function("n => document.querySelector('progress')?.value > n", arg=before)
    press(page, "Stop now")
    shown(page, "Learning curves")
    expect(page.get_by_text("what came since")).to_have_count(0, timeout=MILLISECONDS)  # the newest comes by itself
    check_looks(page)

    press(page, "Export the best student")
    shown(page, "model.py")
    assert verify_folder(save_export(page, tmp_path)).max_difference < 1e-3

    page.locator("#trials").get_by_role("link", name="0", exact=True).click()
    node = page.locator("figure.drawing g[id*=-text-]").nth(1)
    node.hover()
    expect(page.locator("figcaption")).to_have_text(node.locator("title").text_content() or "")
    check_looks(page)


def test_a_long_name_leaves_room_for_what_is_told_of_searches(page: Page) -> None:
    searches = table(("search", "status", "trials"), [("n" * 100, "interrupted", "12/60")], numeric=[2])
    styles = "".join(Path(send_file(name).path).read_text() for name in ("report.css", "page.css"))
    page.set_viewport_size({"width": 360, "height": 700})
    page.set_content(f"<style>{styles}</style>{render('searches.html', table=searches, jobs=[])}")
    assert page.evaluate("document.querySelector('td.number').getBoundingClientRect().right <= innerWidth")


def test_a_page_without_a_token_asks_for_one_and_is_used_by_the_keyboard(page: Page, service: dict[str, Any]) -> None:
    page.goto(service["url"])
    page.get_by_label("Token").press_sequentially(service["token"])
    page.keyboard.press("Enter")
    shown(page, "Searches")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    press(page, "Forget the token")
    expect(page.get_by_label("Token")).to_be_focused(timeout=MILLISECONDS)
