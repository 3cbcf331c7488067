import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from autokd.searches.api import find
from autokd.searches.workspace import Workspace

MODULE = """
from autokd.distillation.methods.kd import KD

class Mine(KD):
    name = "mine"
"""
BEGINNINGS = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


@pytest.fixture
def refused(invoke, finished: Path):
    """What `plot` complains of in its one line, having written nothing."""

    def complaint(*words: object, home: Path = finished) -> str:
        before = sorted(Path.cwd().rglob("*"))
        outcome = invoke("plot", *words, "--home", home)
        assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
        assert outcome.err.startswith("autokd: ")
        assert sorted(Path.cwd().rglob("*")) == before
        return str(outcome.err)

    return complaint


@pytest.fixture(scope="module")
def longer(invoke, tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a search of five trials, which is enough to tell what matters; not to be changed."""
    home = tmp_path_factory.mktemp("longer")
    assert invoke("search", "digits", *tiny, "--set", "trials=5", "--home", home).code == 0
    return home


@pytest.mark.slow  # a picture takes a second
@pytest.mark.parametrize("form", BEGINNINGS)
def test_the_picture_is_of_the_format_that_the_file_is_named_for(invoke, finished: Path, form: str):
    outcome = invoke("plot", "digits", f"new/folder/out.{form}", "--home", finished)
    said = f"wrote new/folder/out.{form}: 3 trials; importances need 4 finished trials, but there are 3.\n"
    assert (outcome.code, outcome.err, outcome.out) == (0, "", said)
    assert Path(f"new/folder/out.{form}").read_bytes().startswith(BEGINNINGS[form])
    assert [path.name for path in Path("new/folder").iterdir()] == [f"out.{form}"]


@pytest.mark.slow  # a picture takes a second
def test_the_most_important_dimensions_are_named(invoke, longer: Path):
    importances = find("digits", Workspace(longer)).importances
    named = ", ".join(f"{name} {100 * share:.0f} %" for name, share in list(importances.items())[:3])
    Path("out.svg").write_text("an earlier one")
    outcome = invoke("plot", "digits", "out.svg", "--home", longer)
    said = f"wrote out.svg: 5 trials; most important, from 5 trials: rough: {named}\n"
    assert (outcome.code, outcome.err, outcome.out) == (0, "", said)
    assert "from 5 trials: rough" in Path("out.svg").read_text()


@pytest.mark.slow  # pictures take a second
def test_the_answer_in_json_has_the_importances_or_why_there_are_none(invoke, finished: Path, longer: Path):
    key = [
        json.loads(invoke("plot", "digits", "out.svg", "-o", "json", "--home", home).out) for home in (longer, finished)
    ]
    result = find("digits", Workspace(longer))
    assert key[0] == {
        "file": "out.svg",
        "search": "digits",
        "trials": 5,
        "learnt_from": 5,
        "importances": result.importances,
        "note": None,
    }
    assert set(result.importances) == set(result.problem.dimensions)
    assert sum(result.importances.values()) == pytest.approx(1)
    assert (key[1]["importances"], key[1]["trials"]) == (None, 3)
    assert key[1]["note"] == "importances need 4 finished trials, but there are 3."


@pytest.mark.slow  # a search, and a picture
def test_a_search_of_several_methods_shows_them_and_what_is_conditional_on_them(invoke, tiny, tmp_path: Path):
    from autokd.recipes.catalogue import recipe_path

    Path("my_method.py").write_text(MODULE)
    text = recipe_path("digits").read_text()
    assert 'method = "kd"' in text
    Path("mine.toml").write_text(text.replace('method = "kd"', 'methods = ["kd", "my_method:Mine"]'))
    outcome = invoke("search", "mine.toml", *tiny, "--set", "trials=6", "--home", tmp_path / "home")
    assert outcome.code == 0, outcome.err
    outcome = invoke("plot", "mine", "out.svg", "-o", "json", "--home", tmp_path / "home")
    assert (outcome.code, outcome.err) == (0, "")
    assert {"method", "kd.temperature", "my_method:Mine.weight"} <= set(json.loads(outcome.out)["importances"])
    tried = {trial.trial.parameters["method"] for trial in find("mine", Workspace(tmp_path / "home")).trials}
    assert tried == {"kd", "my_method:Mine"}
    picture = Path("out.svg").read_text()
    assert "Trials by method (how many)" in picture
    assert "my_method:Mine (" in picture


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digits", "out.gif"], "the file to write must end in .html, .pdf, .png, .svg, but got out.gif."),
        (["digits", "out"], "the file to write must end in .html, .pdf, .png, .svg, but got out."),
        (["digitts", "out.svg"], "did you mean 'digits'?"),
    ],
)
def test_what_cannot_be_plotted_is_said_in_one_line(refused, words: list[str], message: str):
    assert message in refused(*words)


def test_a_place_that_cannot_be_written_to_is_named(refused):
    Path("file").write_text("")
    Path("folder.svg").mkdir()
    assert "file/out.svg cannot be written: " in refused("digits", "file/out.svg")
    assert "folder.svg cannot be written: Is a directory." in refused("digits", "folder.svg")


def test_a_search_without_a_value_says_so(refused, home: Path):
    with sqlite3.connect(home / "autokd.db") as connection:
        connection.execute("UPDATE evaluations SET state = 'failed', metrics = NULL, reason = 'none'")
    connection.close()
    message = "search 'digits' has no trial with a value yet: there is nothing to plot."
    assert message in refused("digits", "out.svg", home=home)


@pytest.mark.slow  # a fresh interpreter loads torch
def test_plotting_leaves_the_state_of_pyplot_alone(finished: Path):
    code = (
        "import sys; from autokd.cli import main; sys.argv[1:] = ['plot', 'digits', 'out.png', '--home', sys.argv[1]]\n"
        "try: main()\n"
        "except SystemExit as left: print(left.code)\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(finished)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["0", "False"], done.stderr
