import json
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from autokd.searches.api import find
from autokd.searches.workspace import Workspace
from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture
from search_spaces.drawing.picture import dot, render

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def refused(invoke, finished: Path):
    """What `draw` complains of in its one line, having written nothing."""

    def complaint(*words: object) -> str:
        before = sorted(Path.cwd().rglob("*"))
        outcome = invoke("draw", *words, "--home", finished)
        assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
        assert outcome.err.startswith("autokd: ")
        assert sorted(Path.cwd().rglob("*")) == before
        return str(outcome.err)

    return complaint


def read(folder: Path) -> Architecture:
    return Architecture.from_json((folder / "architecture.json").read_bytes())


@pytest.mark.parametrize("what", ["exported", "exported/architecture.json", "digits"])
def test_a_file_an_exported_folder_and_a_search_are_drawn(invoke, finished: Path, what: str):
    is_search = what == "digits"
    architecture = find(what, Workspace(finished)).best.architecture if is_search else read(finished / "exported")
    word = what if is_search else finished / what
    outcome = invoke("draw", word, "new/folder/out.dot", "--home", finished)
    size = (
        f"{len(architecture.nodes)} nodes, {cost(architecture).params:,} parameters, {cost(architecture).macs:,} MACs"
    )
    assert (outcome.code, outcome.err, outcome.out) == (0, "", f"wrote new/folder/out.dot: {size}\n")
    assert Path("new/folder/out.dot").read_text() == dot(architecture)
    assert [path.name for path in Path("new/folder").iterdir()] == ["out.dot"]


def test_the_student_of_a_trial_is_the_best_one_trained_of_it(invoke, finished: Path):
    result = find("digits", Workspace(finished))
    drawn = []
    for trial in result.trials:
        number = trial.trial.number
        best = next(student for student in result.students if student.trial.number == number)
        assert invoke("draw", "digits", "out.dot", "--trial", number, "--home", finished).code == 0
        assert Path("out.dot").read_text() == dot(best.architecture)
        drawn.append(Path("out.dot").read_text())
    assert len(set(drawn)) == len(drawn)


def test_a_student_that_was_drawn_but_not_trained_can_be_looked_at(invoke, home: Path):
    import sqlite3

    with sqlite3.connect(home / "autokd.db") as connection:
        connection.execute("UPDATE evaluations SET state = 'failed', metrics = NULL, reason = 'none'")
    connection.close()
    result = find("digits", Workspace(home))
    (student, *_) = result.trial(1).students
    assert not result.students
    assert invoke("draw", "digits", "out.dot", "--trial", 1, "--home", home).code == 0
    assert Path("out.dot").read_text() == dot(Architecture.from_dict(dict(student.architecture)))


def test_the_answer_in_json_names_the_file_and_the_cost(invoke, finished: Path):
    outcome = invoke("draw", finished / "exported", "out.dot", "-o", "json")
    architecture = read(finished / "exported")
    total = cost(architecture)
    assert (outcome.code, outcome.err) == (0, "")
    assert json.loads(outcome.out) == {
        "file": "out.dot",
        "digest": architecture.digest,
        "nodes": len(architecture.nodes),
        "params": total.params,
        "macs": total.macs,
        "memory_bytes": total.memory_bytes,
    }


def test_a_picture_replaces_an_earlier_one_and_is_that_of_the_engine_asked_for(invoke, finished: Path):
    Path("out.svg").write_text("an earlier one")
    outcome = invoke("draw", finished / "exported", "out.svg", "--engine", "networkx")
    assert (outcome.code, outcome.err) == (0, "")
    architecture = read(finished / "exported")
    assert Path("out.svg").read_bytes() == render(architecture, "svg", "networkx")
    assert len(ElementTree.parse("out.svg").findall(f".//{SVG}title")) == 2 * len(architecture.nodes)
    assert [path.name for path in Path.cwd().iterdir()] == ["out.svg"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digits", "out.gif"], "the file to write must end in .dot, .pdf, .png, .svg, but got out.gif."),
        (["digits", "out"], "the file to write must end in .dot, .pdf, .png, .svg, but got out."),
        (["none.json", "out.svg"], "there is no file none.json."),
        (["no/folder", "out.svg"], "there is no file no/folder."),
        (["digitts", "out.svg"], "digitts is no file, no exported folder and no search: "),
        (["digitts", "out.svg"], "did you mean 'digits'?"),
        (["digits", "out.svg", "--trial", "7"], "search 'digits' has no trial 7: there are 0..2."),
        (["digits", "out.svg", "--engine", "circo"], "'circo' is not one of 'graphviz', 'networkx'."),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(refused, words: list[str], message: str):
    assert message in refused(*words)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a letter", "Not JSON: "),
        (b"\x89PNG\xff", "Not JSON: "),
        (b"[]", "An architecture is a JSON object, but got list."),
        (b"{}", "The architecture's schema must be 1, but got None"),
    ],
)
def test_a_file_that_is_no_architecture_is_named(refused, content: bytes, message: str):
    Path("mine.json").write_bytes(content)
    assert f"autokd: mine.json: {message}" in refused("mine.json", "out.svg")


def test_a_folder_that_is_no_export_is_said_to_be_none(refused):
    Path("pictures").mkdir()
    assert "pictures is no file, no exported folder and no search: " in refused("pictures", "out.svg")
    assert "there is no file pictures/inner/architecture.json." in refused(
        "pictures/inner/architecture.json", "out.svg"
    )


def test_a_place_that_cannot_be_written_to_is_named(refused, finished: Path):
    Path("file").write_text("")
    Path("folder.svg").mkdir()
    assert "file/out.dot cannot be written: " in refused(finished / "exported", "file/out.dot")
    assert "folder.svg cannot be written: Is a directory." in refused(finished / "exported", "folder.svg")


def test_graphviz_that_is_missing_is_named_and_networkx_takes_its_place(
    invoke, refused, finished: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("search_spaces.drawing.picture.which", lambda program: None)
    assert "needs the program `dot`" in refused(finished / "exported", "out.svg", "--engine", "graphviz")
    assert invoke("draw", finished / "exported", "out.svg").code == 0
    assert "matplotlib" in Path("out.svg").read_text()


def test_a_folder_of_the_name_of_a_search_is_no_obstacle(invoke, finished: Path):
    Path("digits").mkdir()
    assert invoke("draw", "digits", "out.dot", "--home", finished).code == 0
    shutil.copy(finished / "exported" / "architecture.json", "digits")
    assert invoke("draw", "digits", "other.dot", "--home", finished / "nowhere").code == 0
    assert Path("out.dot").read_text() == dot(find("digits", Workspace(finished)).best.architecture)
    assert Path("other.dot").read_text() == dot(read(finished / "exported"))


def test_drawing_a_file_loads_neither_torch_nor_what_draws_before_it_is_needed(finished: Path):
    code = (
        "import sys; from autokd.cli import main; sys.argv[1:] = ['draw', sys.argv[1], 'out.dot']\n"
        "try: main()\n"
        "except SystemExit as left: print(left.code)\n"
        "print([name for name in ('torch', 'optuna', 'sqlalchemy', 'matplotlib', 'networkx') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(finished / "exported")], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-2:] == ["0", "[]"]
