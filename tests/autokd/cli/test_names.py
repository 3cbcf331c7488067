import json
from pathlib import Path
from typing import Any

import pytest
import typer.main

from autokd.cli.app import app
from autokd.searches import preflight


def test_a_name_that_is_taken_is_told_in_the_first_line(invoke: Any, home: Path, tiny: tuple[str, ...]) -> None:
    outcome = invoke("search", "digits", *tiny, "--set", "trials=1", "--home", home)
    assert outcome.code == 0
    assert outcome.out.splitlines()[0] == "there is a search 'digits' already: this one is called 'digits-2'"


@pytest.mark.parametrize("words", [("--name", "digits"), ("--set", "name=digits")])
def test_a_name_that_was_asked_for_and_is_taken_is_refused_at_once(
    invoke: Any, home: Path, tiny: tuple[str, ...], words: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "load_data", lambda _: pytest.fail("data were loaded"))
    outcome = invoke("search", "digits", *tiny, *words, "--home", home)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"autokd: there is a search 'digits' in {home} already: choose another name, ")
    assert f"`autokd resume digits --home {home}`" in outcome.err
    assert len(json.loads(invoke("list", "-o", "json", "--home", home).out)) == 1


def test_a_name_that_is_a_number_to_toml_is_a_name(invoke: Any, tiny: tuple[str, ...], tmp_path: Path) -> None:
    outcome = invoke("search", "digits", *tiny, "--set", "trials=1", "--name", "2024", "--home", tmp_path)
    assert (outcome.code, outcome.err) == (0, "")
    assert invoke("status", "2024", "--home", tmp_path).code == 0


@pytest.mark.parametrize(("begun", "proposed"), [("di", ["digits"]), ("x", [])])
@pytest.mark.parametrize("verb", ["status", "stop", "gc"])
def test_the_shell_completes_names_of_searches(finished: Path, verb: str, begun: str, proposed: list[str]) -> None:
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    context = command.make_context(verb, ["--home", str(finished)], resilient_parsing=True)
    assert [item.value for item in command.params[0].shell_complete(context, begun)] == proposed


@pytest.mark.parametrize(
    ("line", "proposed"),
    [
        ("search digits --set training.ru", ["training.rungs="]),
        ("resume digits --set training.ru", []),
        ("resume digits --set workers.d", []),
        ("train digits --set final.e", ["final.epochs=", "final.ema="]),
    ],
)
def test_bash_completes_the_settings_that_a_verb_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, proposed: list[str]
) -> None:
    words = ["autokd", *line.split()]
    monkeypatch.setenv("COMP_WORDS", "\n".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    monkeypatch.setenv("_AUTOKD_COMPLETE", "complete_bash")
    with pytest.raises(SystemExit):
        app(prog_name="autokd")
    assert capsys.readouterr().out.split() == proposed


def test_the_shell_completes_nothing_where_there_is_no_database(tmp_path: Path) -> None:
    command = typer.main.get_command(app).commands["status"]  # type: ignore[attr-defined]
    context = command.make_context("status", ["--home", str(tmp_path / "none")], resilient_parsing=True)
    assert command.params[0].shell_complete(context, "") == []
    assert not (tmp_path / "none").exists()


def test_resume_proposes_settings_that_it_takes(invoke: Any, home: Path) -> None:
    text = " ".join(invoke("resume", "--help").out.split())
    assert "trials=100" in text
    assert "training.rungs" not in text
