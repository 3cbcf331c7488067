import json
import os
import re
import socket
import sqlite3
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from autokd.cli import show
from autokd.cli.best import trained
from autokd.cli.output import show_text
from autokd.config.fidelity_metrics import FIDELITY_METRICS
from autokd.database.models import Evaluation, Search, Trial
from autokd.searches.api import find
from autokd.searches.families import Family
from autokd.searches.findings import Findings
from autokd.searches.progress import ReferenceProgress
from autokd.searches.tables import counted
from autokd.searches.workspace import Workspace
from search_spaces.design.budget import Budget
from search_spaces.design.dimensions import Value

WORDS: dict[str, tuple[str, ...]] = {
    "list": (),
    "status": ("digits",),
    "show": ("digits", "0"),
    "best": ("digits",),
    "families": ("digits",),
    "pareto": ("digits",),
}


@pytest.fixture
def answer(invoke, finished: Path):
    """The JSON that a reading verb prints, and nothing else on either stream."""

    def ask(verb: str, *words: str) -> Any:
        outcome = invoke(verb, *(words or WORDS[verb]), "-o", "json", "--home", finished)
        assert (outcome.code, outcome.err) == (0, "")
        return json.loads(outcome.out)

    return ask


@pytest.mark.parametrize("verb", WORDS)
def test_reading_verbs_answer_in_text_and_json(invoke, answer, finished: Path, verb: str):
    outcome = invoke(verb, *WORDS[verb], "--home", finished)
    assert (outcome.code, outcome.err) == (0, "")
    assert len(outcome.out.splitlines()) > 2
    assert all(line == line.rstrip() and len(line) <= 160 for line in outcome.out.splitlines())
    assert answer(verb)


def test_list_has_a_line_for_each_search(invoke, answer, finished: Path):
    (row,) = answer("list")
    assert (row["name"], row["status"], row["trials"], row["complete"] + row["pruned"]) == ("digits", "finished", 3, 3)
    lines = [line for line in invoke("list", "--home", finished).out.splitlines() if "digits" in line]
    assert len(lines) == 1
    assert "3/3" in lines[0]


def test_list_without_a_database_is_empty_and_makes_none(invoke):
    assert json.loads(invoke("list", "-o", "json").out) == []
    outcome = invoke("list")
    folder = Path("autokd-runs").absolute()
    assert outcome.out == f"no search in {folder} yet: begin one with `autokd search`\n"
    assert not folder.exists()


def test_the_home_may_come_from_the_environment(invoke, finished: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AUTOKD_HOME", str(finished))
    assert "digits" in invoke("list").out


def test_status_tells_progress_and_full_length_trainings(invoke, answer, finished: Path):
    status = answer("status")
    assert [training["epochs_done"] for training in status["trainings"]] == [2, 2]
    text = invoke("status", "digits", "--home", finished).out
    assert "digits (finished)" in text
    assert "3 of 3" in text
    assert ", student 0: " in text
    assert "controller" not in text


@pytest.mark.parametrize("verb", ["status", "families", "best"])
def test_the_winner_and_what_further_trials_would_gain_are_told(invoke, answer, finished: Path, verb: str):
    result = find("digits", finished)
    outlook = result.outlook
    assert outlook is not None
    assert outlook.gain is not None
    (best,) = [family for family in result.families if family.trial == outlook.trial]
    words = " ".join(invoke(verb, "digits", "--home", finished).out.split())
    assert f"winner trial {best.trial}, the best family tried with probability {best.probability_best:.2f}; " in words
    assert f"has {100 * outlook.low:.2f} % to {100 * outlook.high:.2f} % after 2 epochs (90 %)" in words
    assert f"further 20 more trials would gain less than {100 * outlook.gain.most:.2f} points (90 %)" in words
    assert (outlook.low, outlook.high) == (best.low, best.high)
    told = answer(verb)
    if verb == "families":
        assert (told[0]["low"] is None) == (told[0]["rung"] < best.rung)
    else:
        assert told["outlook"] == asdict(outlook)


def test_where_full_length_chose_another_trial_the_winner_is_what_was_believed_before(finished: Path) -> None:
    shown = Findings.of(find("digits", finished))
    assert shown.student.is_final
    assert shown.outlook is not None
    of_it, of_another = (
        dict(replace(shown, outlook=replace(shown.outlook, trial=shown.student.trial.number + more)).facts)
        for more in (0, 1)
    )
    assert of_it["winner"].startswith(f"trial {shown.student.trial.number}, the best family tried")
    assert "winner" not in of_another
    assert of_another["believed"].startswith(
        f"before training at full length: trial {shown.student.trial.number + 1}, the best family tried"
    )


def test_where_a_further_limit_excludes_the_winner_it_is_told_that_it_does(finished: Path) -> None:
    result = find("digits", finished)
    largest = result.best.row.params
    shown = Findings.of(result, Budget(params=largest))
    assert shown.outlook is not None
    another = replace(shown, outlook=replace(shown.outlook, trial=shown.student.trial.number + 1))
    assert dict(another.facts)["believed"].startswith("without further limits: trial ")
    assert "winner" not in dict(another.facts)
    same = replace(shown, outlook=replace(shown.outlook, trial=shown.student.trial.number))
    assert dict(same.facts)["winner"].startswith("trial ")


def test_a_reference_that_failed_is_told_in_words_and_in_json(finished: Path) -> None:
    failed = ReferenceProgress("mobilenetv2", "failed", None, None, None, None, "BudgetError: too small.")
    shown = replace(Findings.of(find("digits", finished)), left_out=[failed])
    assert ("left out", "mobilenetv2: BudgetError: too small.") in shown.facts
    assert shown.to_json()["left_out"] == [{"name": "mobilenetv2", "reason": "BudgetError: too small."}]


def test_the_table_of_train_says_of_which_trial_each_student_is(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = find("digits", finished)
    one = next(student for student in result.students if student.is_final)
    accuracies = {(3, 1): 0.9, (7, 0): 0.8, (3, 0): 0.6}
    trained(
        [
            replace(
                one,
                trial=replace(one.trial, number=trial),
                row=replace(one.row, replicate=replicate),
                evaluation=replace(one.evaluation, metrics=one.metrics | {"test_accuracy": accuracy}),
            )
            for (trial, replicate), accuracy in accuracies.items()
        ],
        result,
        "text",
    )
    lines = capsys.readouterr().out.splitlines()
    cells = [tuple(line.split()[:2]) for line in lines]
    first = cells.index(("trial", "student"))
    assert cells[first + 2 : first + 5] == [("3", "1"), ("7", "0"), ("3", "0")]
    assert [line for line in lines if line.startswith("test accuracy")] == [
        "test accuracy of trial 3: mean 75.00 %, spread 30.00 % over 2 students"
    ]


def test_status_ends_with_the_last_events(invoke, answer, finished: Path) -> None:
    events = answer("status")["events"]
    assert [event["kind"] for event in events][-2:] == ["status_changed", "lease_released"]
    lines = invoke("status", "digits", "--home", finished).out.rstrip().splitlines()
    assert lines[-5].startswith("last events")
    assert lines[-1].endswith("the search was released")


def test_show_names_the_process_that_trained(answer) -> None:
    workers = {evaluation["worker"] for evaluation in answer("show", "digits", "0")["evaluations"]}
    assert workers == {f"{socket.gethostname()}:{os.getpid()}"}  # the search ran in this process


def test_status_of_a_running_search_says_which_worker_has_what(invoke, answer, home: Path, monkeypatch) -> None:
    monkeypatch.setattr("autokd.searches.progress.is_owned", lambda store, name: True)
    with Workspace(home).open() as store, store.transaction() as session:
        session.query(Search).one().status = "running"
        evaluation = session.query(Evaluation).filter_by(rung=1).first()
        evaluation.state = "running"
        trial = session.get(Trial, evaluation.trial_id)
        trial.state, trial.finish_order = "running", None
    (line,) = [line for line in invoke("status", "digits", "--home", home).out.splitlines() if " up to " in line]
    assert line.endswith(f"up to 2 epochs, on {socket.gethostname()}:{os.getpid()}")


def test_status_of_a_killed_search_says_how_to_go_on(invoke, home: Path, monkeypatch: pytest.MonkeyPatch):
    with Workspace(home).open() as store, store.transaction() as session:
        session.query(Search).one().status = "running"
    text = invoke("status", "digits", "--home", home).out
    assert "digits (interrupted)" in text
    assert f"autokd resume digits --home {home}\n" in text
    monkeypatch.setenv("AUTOKD_HOME", str(home))
    assert "autokd resume digits\n" in invoke("status", "digits").out


def test_status_tells_what_each_lower_rung_predicts(invoke, answer, finished: Path):
    status = answer("status")
    assert [one["metric"] for one in status["rung_correlations"]] == list(FIDELITY_METRICS)
    assert {(one["rung"], one["n"], one["rho"]) for one in status["rung_correlations"]} == {
        (0, status["complete"], None)
    }
    (line,) = [line for line in invoke("status", "digits", "--home", finished).out.splitlines() if "prediction" in line]
    message = f"after 1 epoch: too little to tell, {counted(status['complete'], 'trial')} reached the last rung"
    assert line.split(maxsplit=1)[1] == f"training_cross_entropy {message}"


def test_show_has_the_fidelity_metric_only_where_it_is_not_the_accuracy(invoke, answer, home: Path):
    trial = json.loads(invoke("show", "digits", "0", "-o", "json", "--home", home).out)
    metric = "training_cross_entropy"
    values = [row["metrics"][metric] for row in trial["evaluations"]]
    by_rung = {str(rung): value for rung, value in enumerate(values)}
    assert trial["fidelity_metric"] == {"metric": metric, "values": by_rung}
    text = invoke("show", "digits", "0", "--home", home).out
    assert re.search(rf"fidelity metric +{metric} {values[0]:.4f} after 1 epoch", text)
    with Workspace(home).open() as store, store.transaction() as session:
        search = session.query(Search).one()
        search.config = {**search.config, "optimizer": {**search.config["optimizer"], "signal": "accuracy"}}
    assert "fidelity metric" not in invoke("show", "digits", "0", "--home", home).out


def test_show_has_a_trial_with_its_students_and_evaluations(answer):
    trial = answer("show", "digits", "0")
    assert trial["trial"]["number"] == 0
    assert [evaluation["rung"] for evaluation in trial["evaluations"]] == list(range(len(trial["evaluations"])))
    assert trial["students"][0]["params"] <= 7_700
    assert "of" in trial["family"]


def test_show_has_the_three_axes_beside_the_teacher(invoke, answer, finished: Path):
    axes = answer("show", "digits", "0")["axes"]
    assert set(axes) == {"effectiveness", "lightness", "computation"}
    assert axes["lightness"]["student"]["params"] == answer("show", "digits", "0")["students"][0]["params"]
    teacher, student, smaller = row_of(invoke("show", "digits", "0", "--home", finished).out, "nonzero_params")[1:4]
    assert (teacher, student, smaller) != ("-", "-", "-")


MEASURED = {
    "accuracy": 0.9,
    "loss": 0.3456,
    "ece": 0.0321,
    "ece_scaled": 0.0123,
    "scaling_temperature": 1.5,
    "agreement": 0.9234,
    "teacher_kl": 0.0789,
}


def give_metrics(home: Path, names: set[str]) -> None:
    """Record these metrics of every evaluation, as this version or an older one does."""
    metrics = json.dumps({name: value for name, value in MEASURED.items() if name in names})
    with sqlite3.connect(home / "autokd.db") as connection:
        connection.execute("UPDATE evaluations SET metrics = ?", [metrics])
    connection.close()


def row_of(text: str, first: str) -> list[str]:
    """The words of the last line that begins so."""
    return next(line.split() for line in reversed(text.splitlines()) if line.strip().startswith(first))


def test_show_and_best_have_every_metric_that_was_recorded(invoke, home: Path):
    give_metrics(home, set(MEASURED))
    outcome = invoke("show", "digits", "0", "--home", home)
    assert row_of(outcome.out, "0  ")[3:11] == ["90.00", "%", "0.3456", "0.0321", "0.0123", "92.34", "%", "0.0789"]
    table = outcome.out[outcome.out.index(" student   epochs") :]
    assert all(len(line) <= 100 for line in table.splitlines()[:4])
    text = invoke("best", "digits", "--home", home).out
    assert row_of(text, "student")[5:10] == ["90.00", "%", "0.3456", "0.0321", "0.0123"]
    assert all(len(line) <= 100 for line in text.splitlines()[:6])
    assert "agrees     with the teacher on 92.34 % of the validation samples, KL 0.0789 nats" in text
    assert re.search(r"^ *distilled  by kd: temperature [\d.]+, weight [\d.]+$", text, re.MULTILINE)
    key = json.loads(invoke("show", "digits", "0", "-o", "json", "--home", home).out)["evaluations"]
    assert key[0]["metrics"] == MEASURED


def test_show_and_best_have_a_dash_for_what_an_older_version_did_not_record(invoke, home: Path):
    give_metrics(home, {"accuracy", "loss", "ece"})
    outcome = invoke("show", "digits", "0", "--home", home)
    assert row_of(outcome.out, "0  ")[3:10] == ["90.00", "%", "0.3456", "0.0321", "-", "-", "-"]
    text = invoke("best", "digits", "--home", home).out
    assert row_of(text, "student")[5:10] == ["90.00", "%", "0.3456", "0.0321", "-"]
    assert "agrees" not in text


def test_best_is_the_trained_student_beside_its_teacher(invoke, answer, finished: Path):
    best = answer("best")
    assert best["is_final"]
    assert best["params"] <= 7_700 < best["teacher_params"] == 77_754
    assert best["metrics"]["test_accuracy"] < best["teacher_test_metrics"]["accuracy"]
    text = invoke("best", "digits", "--home", finished).out
    assert f"Export it: autokd export digits --home {finished} FOLDER" in text


def test_best_has_student_and_teacher_along_three_axes(invoke, answer, finished: Path):
    best = answer("best")
    axes, teacher = best["axes"], best["axes"]["lightness"]["teacher"]
    assert teacher["activation_bytes"] == best["teacher_activation_bytes"] == 3 * 4 * 16 * 8 * 8
    assert axes["lightness"]["compression"]["params"] == pytest.approx(77_754 / best["params"])
    relative = 100 * best["metrics"]["test_accuracy"] / best["teacher_test_metrics"]["accuracy"]
    assert axes["test_effectiveness"]["relative_accuracy"] == pytest.approx(relative)
    assert {"balanced_accuracy", "macro_f1", "auroc"} <= {*best["metrics"]} & {*best["teacher_metrics"]}
    assert best["limits"]["used"] == {"params": best["params"] / 7_700}
    assert best["search_cost"]["images"] > best["search_cost"]["teacher_images"] > 0
    assert best["energy"] is None
    text = invoke("best", "digits", "--home", finished).out
    assert row_of(text, "activation_bytes")[1:3] == ["12.3", "k"]
    assert (
        f"relative   {axes['effectiveness']['relative_accuracy']:.1f} % of the teacher's validation accuracy, " in text
    )
    assert f"limits     params {100 * best['params'] / 7_700:.1f} % used (the tightest)" in text
    assert re.search(
        r"cost +\d+ (s|min) of workers, [\d.]+ k training images, .* teacher images; energy not measured", text
    )


def test_train_and_the_manifest_have_the_three_axes(answer, finished: Path):
    axes = answer("best")["axes"]
    manifest = json.loads((finished / "exported" / "manifest.json").read_text())
    assert manifest["axes"] == axes
    assert manifest["search_cost"]["images"] == answer("best")["search_cost"]["images"]


def test_status_and_families_have_activations_and_the_tightest_limit(invoke, answer, finished: Path):
    status, families = answer("status"), answer("families")
    assert (status["best_activation_bytes"] > 0, status["teacher_activation_bytes"]) == (True, 12_288)
    assert status["limits"] == {"allowed": {"params": 7_700}, "used": {"params": status["best_params"] / 7_700}}
    text = invoke("status", "digits", "--home", finished).out
    assert "12.3 k activation bytes" in text
    assert re.search(r"limits +params \d+\.\d % used \(the tightest\)", text)
    assert all(0 < family["limits"]["params"] <= 1 and family["activation_bytes"] > 0 for family in families)
    assert re.search(r"params \d+\.\d %", invoke("families", "digits", "--home", finished).out)


def test_pareto_has_the_students_that_are_best_for_their_size(invoke, answer, finished: Path):
    found = answer("pareto", "digits", "--against", "macs")
    assert found[0]["is_final"]
    longest = [student for student in found if student["is_final"]]
    assert [student["macs"] for student in longest] == sorted(student["macs"] for student in longest)
    text = invoke("pareto", "digits", "--home", finished).out
    assert "no other one that was trained for as long is as accurate with as few params" in text
    assert invoke("pareto", "digits", "--against", "size", "--home", finished).code == 2


def test_a_student_that_beats_its_teacher_is_noted(invoke, home: Path):
    with Workspace(home).open() as store, store.transaction() as session:
        search = session.query(Search).one()
        weak, seen = {"accuracy": 0.1}, {"accuracy": 0.99}
        search.facts = {**search.facts, "teacher_metrics": seen, "teacher_test_metrics": weak}
    notes = json.loads(invoke("best", "digits", "-o", "json", "--home", home).out)["remarks"]
    assert notes[0].startswith("the student beats its teacher by ")
    assert "the validation samples are evidently among its own training samples" in notes[1]
    text = invoke("best", "digits", "--home", home).out
    assert text.count("note ") == 2


def test_families_are_ranked_and_cut(answer):
    families = answer("families", "digits", "--top", "2")
    assert len(families) == 2
    assert families[0]["mean"] >= families[1]["mean"]
    assert sum(family["probability_best"] for family in answer("families")) == pytest.approx(1, abs=0.01)


@pytest.mark.slow  # a fresh interpreter loads torch
def test_verify_measures_again_what_the_export_promised(invoke, finished: Path):
    folder = finished / "exported"
    outcome = invoke("verify", folder, "--data", "digits", "-o", "json")
    found, manifest = json.loads(outcome.out), json.loads((folder / "manifest.json").read_text())
    assert (outcome.code, outcome.err) == (0, "")
    assert found["test_accuracy"] == manifest["metrics"]["test_accuracy"]
    assert "reloaded       without autokd" in invoke("verify", folder, "--data", "digits").out


@pytest.mark.slow  # a fresh interpreter loads torch
def test_verify_tells_the_recorded_test_accuracy(invoke, finished: Path) -> None:
    recorded = json.loads((finished / "exported" / "manifest.json").read_text())["metrics"]["test_accuracy"]
    found = json.loads(invoke("verify", finished / "exported", "-o", "json").out)
    assert (found["test_accuracy"], found["is_tested"]) == (recorded, False)


@pytest.mark.slow  # a fresh interpreter loads torch
def test_train_goes_on_from_what_is_done_and_export_replaces(invoke, home: Path):
    outcome = invoke("train", "digits", "-o", "json", "--home", home)
    students = json.loads(outcome.out)
    assert [student["is_final"] for student in students] == [True, True]
    done = invoke("export", "digits", home / "exported", "--home", home, "-o", "json")
    assert (done.code, json.loads(done.out)["folder"]) == (0, str(home / "exported"))


def test_train_at_another_length_keeps_what_was_trained_and_prefers_the_longer(invoke, home: Path):
    before = find("digits", Workspace(home)).best
    outcome = invoke("train", "digits", "--set", "final.epochs=3", "--set", "final.families=1", "--home", home)
    assert outcome.code == 0, outcome.err
    after = find("digits", Workspace(home))
    assert (after.best.evaluation.epochs, after.best.is_final) == (3, True)
    assert before.weights.exists()
    assert [training.epochs for training in after.trainings] == [3]
    shorter = ("--set", "final.epochs=1", "--set", "final.families=1", "--home", home)
    assert {student["epochs"] for student in json.loads(invoke("train", "digits", "-o", "json", *shorter).out)} == {1}
    assert find("digits", Workspace(home)).best.evaluation.epochs == 3


def test_resume_of_a_finished_search_does_nothing_and_more_trials_go_on(invoke, home: Path):
    assert invoke("resume", "digits", "--home", home).code == 0
    outcome = invoke("resume", "digits", "--set", "trials=4", "--home", home, "-o", "json")
    assert json.loads(outcome.out)["search"] == "digits"
    assert "4/4 trials" in outcome.err
    assert len(find("digits", Workspace(home)).trials) == 4


def test_a_second_search_of_a_name_gets_a_number_and_its_result_alone_is_on_stdout(invoke, home: Path, tiny):
    outcome = invoke("search", "digits", *tiny, "--set", "trials=1", "-o", "json", "--home", home)
    assert outcome.code == 0
    assert json.loads(outcome.out)["search"] == "digits-2"
    assert "search digits-2 begins\n" in outcome.err
    assert (
        "\n1/1 trial, best" in outcome.err
    )  # after the teacher's outputs, where the measured precision is another one
    names = [row["name"] for row in json.loads(invoke("list", "-o", "json", "--home", home).out)]
    assert names == ["digits", "digits-2"]


@pytest.mark.slow  # a fresh interpreter loads torch
def test_an_export_without_training_says_so(invoke, tiny, tmp_path: Path):
    home = ("--home", tmp_path / "home")
    assert "Train it at full length: autokd train digits" in invoke("search", "digits", *tiny, *home).out
    outcome = invoke("export", "digits", tmp_path / "student", *home)
    assert outcome.code == 0
    assert "this student is from the search alone" in outcome.out
    assert "test accuracy" not in outcome.out


def test_doctor_needs_no_home(invoke):
    found = {finding["subject"]: finding for finding in json.loads(invoke("doctor", "-o", "json").out)}
    assert found["torch"]["works"] is True
    assert found["database"]["works"] is None
    assert not Path("autokd-runs").exists()


def test_doctor_says_no_to_a_broken_database(invoke, tmp_path: Path):
    (tmp_path / "autokd.db").write_text("this is no database at all")
    outcome = invoke("doctor", "--home", tmp_path)
    (line,) = [line for line in outcome.out.splitlines() if line.strip().startswith("database")]
    assert outcome.code == 0
    assert " NO " in line


def test_families_name_the_method_where_the_search_chose_it(capsys: pytest.CaptureFixture[str]) -> None:
    chosen: dict[str, Value] = {"method": "dkd", "depth": 3}
    ends, sizes = (0.89, 0.93), (1000, 2000, 3000)
    family = Family(0, "WS(4,2)", chosen, False, 0.9, 1, 0.91, 0.01, 0.5, *ends, *sizes, {"params": 0.9}, 2)
    show_text(show._families_table([family, replace(family, trial=1, parameters={"method": "kd"})]))
    assert row_of(capsys.readouterr().out, "0 ")[-2:] == ["dkd", "WS(4,2)"]
    with_panel = replace(family, trial=1, parameters={"method": "takd+kd", "path": "small"})
    show_text(show._families_table([family, with_panel]))
    shown = capsys.readouterr().out
    assert row_of(shown, "0 ")[-3:] == ["dkd", "-", "WS(4,2)"]
    assert row_of(shown, "1 ")[-3:] == ["takd+kd", "small", "WS(4,2)"]
    show_text(show._families_table([replace(family, parameters={"depth": 3})]))
    assert "method" not in capsys.readouterr().out.splitlines()[1]
