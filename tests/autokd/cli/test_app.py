import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

from autokd.searches import workspace

VERBS = (
    *("recipes", "init", "search", "resume", "teach", "delete", "list", "status", "show", "best", "families"),
    *("watch", "draw", "plot", "report", "train", "export", "verify", "doctor", "schema", "serve", "backup"),
)


def test_help_names_every_verb(invoke):
    assert all(verb in invoke("--help").out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(invoke, verb: str):
    outcome = invoke(verb, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert f"Usage: autokd {verb} " in re.sub(r"\x1b\[[\d;]*m", "", outcome.out)


def test_no_words_at_all_show_the_help(invoke):
    outcome = invoke()
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.strip().startswith("Usage: autokd")
    assert "recipes" in outcome.err


@pytest.mark.parametrize(
    ("shell", "typed"),
    [("bash", {"COMP_WORDS": "autokd del", "COMP_CWORD": "1"}), ("zsh", {"_TYPER_COMPLETE_ARGS": "autokd del"})],
)
def test_a_shell_completes_a_verb_and_nothing_heavy_is_imported(shell: str, typed: dict[str, str]) -> None:
    shown, imported = imports(("torch", "optuna", "sqlalchemy", "numpy"), **typed, _AUTOKD_COMPLETE=f"complete_{shell}")
    assert "delete" in shown
    assert imported == "[]"


def test_searches_are_listed_without_importing_what_trains_them(finished: Path) -> None:
    shown, imported = imports(("torch", "optuna", "scipy", "numpy"), AUTOKD_HOME=str(finished), words=["list"])
    assert "digits" in shown
    assert imported == "[]"


def imports(modules: Sequence[str], *, words: Sequence[str] = (), **variables: str) -> tuple[str, str]:
    """What a command shows, and a list of those of the modules that it imports."""
    script = f"""
import sys
from autokd.cli import main
try:
    main()
finally:
    print([name for name in {tuple(modules)} if name in sys.modules], file=sys.stderr)
"""
    command, environment = [sys.executable, "-c", script, *words], {**os.environ, **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stdout, done.stderr.splitlines()[-1]


def test_version(invoke):
    outcome = invoke("--version")
    assert (outcome.code, outcome.out, outcome.err) == (0, f"autokd {version('autokd')}\n", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["serch"], "No such command 'serch'. Did you mean 'search', 'teach', 'serve'? See `autokd --help`."),
        (["search"], "Missing argument 'FILE-or-RECIPE'. See `autokd search --help`."),
        (["list", "--hme", "x"], "No such option: --hme (Possible options: --help, --home). See `autokd list --help`."),
        (["list", "-o", "yaml"], "'yaml' is not one of 'text', 'json'. See `autokd list --help`."),
        (["families", "digits", "--top", "0"], "Input should be greater than or equal to 1"),
    ],
)
def test_wrong_words_are_one_line_and_exit_code_2(invoke, words: list[str], message: str):
    outcome = invoke(*words)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("autokd: ")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err


def test_recipes_are_listed(invoke):
    names = [recipe["name"] for recipe in json.loads(invoke("recipes", "-o", "json").out)]
    assert names == ["digits", "fashion-mnist"]
    assert all(name in invoke("recipes").out for name in names)


def test_init_writes_a_recipe_that_can_be_searched(invoke):
    from autokd.config.toml import read_config

    outcome = invoke("init", "digits", "mine.toml")
    written = "wrote mine.toml and, for editors, autokd.schema.json; start it with `autokd search mine.toml`\n"
    assert (outcome.code, outcome.out) == (0, written)
    assert read_config(Path("mine.toml")).name == "mine"


def test_init_proposes_a_command_that_a_shell_understands(invoke):
    outcome = invoke("init", "digits", "my search.toml")
    assert outcome.out.endswith("start it with `autokd search 'my search.toml'`\n")


def test_init_leads_editors_to_the_schema_beside_the_file(invoke):
    Path("folder").mkdir()
    assert invoke("init", "digits", "folder/mine.toml").code == 0
    first_line = Path("folder/mine.toml").read_text().splitlines()[0]
    schema = Path("folder") / first_line.removeprefix("#:schema ")
    assert json.loads(schema.read_text()) == json.loads(invoke("schema").out)


def test_init_replaces_its_own_schema_and_nothing_else_of_that_name(invoke):
    assert invoke("init", "digits", "first.toml").code == 0
    assert invoke("init", "digits", "second.toml").code == 0
    Path("autokd.schema.json").write_text("precious")
    assert invoke("init", "digits", "third.toml").code == 2
    assert (Path("autokd.schema.json").read_text(), Path("third.toml").exists()) == ("precious", False)


def test_init_overwrites_only_by_force(invoke):
    Path("search.toml").write_text("precious")
    outcome = invoke("init", "digits")
    message = "autokd: search.toml exists: choose another name, or overwrite it with --force.\n"
    assert (outcome.code, outcome.err, Path("search.toml").read_text()) == (2, message, "precious")
    assert invoke("init", "digits", "--force").code == 0
    assert "trials" in Path("search.toml").read_text()


def test_init_where_nothing_can_be_written_says_so(invoke):
    outcome = invoke("init", "digits", "no/folder/search.toml")
    assert (outcome.code, outcome.err) == (
        2,
        "autokd: no/folder/search.toml cannot be written: No such file or directory.\n",
    )


def test_a_mistake_of_ours_shows_where_it_is_and_exits_with_5(invoke, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workspace, "default_workspace", lambda folder: 1 / 0)
    outcome = invoke("list")
    assert outcome.code == 5
    assert "Traceback" in outcome.err
    assert outcome.err.splitlines()[-1].startswith("autokd: failed unexpectedly: ZeroDivisionError")


def test_ctrl_c_before_there_is_a_search_is_one_line(invoke, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(workspace, "default_workspace", interrupt)
    outcome = invoke("list")
    assert (outcome.code, outcome.err) == (130, "autokd: interrupted.\n")
