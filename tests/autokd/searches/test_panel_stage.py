"""Assistants that the workers train before the first trial."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from small_teachers import pixels

from autokd.analysis.plain_values import status_json
from autokd.config.panel import PanelConfig
from autokd.config.parsing import parse_config
from autokd.config.schema import DistillationConfig, SearchConfig
from autokd.database.errors import DatabaseGone
from autokd.database.lease import acquire
from autokd.database.outages import Patience
from autokd.database.store import Store
from autokd.distillation import Ensemble, Outputs
from autokd.errors import AutoKDError, InputError, InterruptedSearchError
from autokd.evaluation.evaluate import evaluate
from autokd.evaluation.task import EvaluationResult, EvaluationTask, weights_file
from autokd.searches import api
from autokd.searches.assistants import routes
from autokd.searches.findings import Findings
from autokd.searches.garbage import collect_garbage
from autokd.searches.manifest import describe_export
from autokd.searches.panel_facts import PanelFacts, panel_json
from autokd.searches.panel_stage import PanelStage
from autokd.searches.reporter import SILENT, Silent
from autokd.searches.result import SearchResult
from autokd.searches.students import TrainedStudent
from autokd.teachers.outputs.cache import TeacherCache
from autokd.teachers.registry import load_teacher

CPU = torch.device("cpu")
MIDDLE, SMALL = {"name": "middle", "params": 6_000}, {"name": "small", "params": 3_000}
GIVEN = {"name": "pixels", "factory": "small_teachers:pixels"}


def config(*assistants: dict[str, Any], method: str = "takd+kd", **panel: Any) -> SearchConfig:
    return parse_config(
        {
            "name": "first",
            "trials": 1,
            "data": {"source": "digits", "subset": 128},
            "teacher": {"factory": "autokd.recipes.teachers:digits", "weights": "autokd.recipes:digits.safetensors"},
            "panel": {"epochs": 1, "assistants": assistants} | panel,
            "budget": {"params": 2_000},
            "space": {"name": "nago", "ranges": {"top_nodes": 3, "middle_nodes": 1, "bottom_nodes": 3}},
            "distillation": {"method": method},
            "training": {"rungs": [1], "views": 1, "precision": "float32", "batch_size": 32},
            "optimizer": {"name": "random"},
            "workers": {"engine": "inline", "count": 1},
        }
    )


def searched(config: SearchConfig, home: Path) -> SearchResult:
    return api.begin(config, home, reporter=SILENT).resume()


def panel_of(result: SearchResult) -> PanelFacts:
    found = result.problem.facts.panel
    assert found is not None
    return found


def taught_by(result: SearchResult, method: str) -> TrainedStudent:
    """The best student, as if this method had taught it."""
    student = result.best
    return replace(student, trial=replace(student.trial, parameters={**student.trial.parameters, "method": method}))


def exported_panel(result: SearchResult, student: TrainedStudent) -> Any:
    return describe_export(result.problem, result.row, student, {}, fold=True).facts["panel"]


@pytest.fixture
def pretending(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[EvaluationTask]]:
    """Lets the trainings of assistants have accuracies that are told, in the order in which they begin."""

    def install(*accuracies: float) -> list[EvaluationTask]:
        tasks, left = list[EvaluationTask](), list(accuracies)

        def pretend(task: EvaluationTask) -> EvaluationResult:
            result = evaluate(task)
            if task.folder.name == "panel" and left:
                tasks.append(task)
                result.metrics["accuracy"] = left.pop(0)
            return result

        monkeypatch.setattr("autokd.searches.dispatcher.evaluate", pretend)
        return tasks

    return install


@pytest.mark.slow  # trains four networks
def test_the_panel_is_trained_recorded_and_teaches(tmp_path: Path) -> None:
    result = searched(config(MIDDLE, SMALL, method="ensemble+kd"), tmp_path)
    panel, problem = panel_of(result), result.problem
    assert [each.name for each in panel.assistants] == ["middle", "small"]
    assert [set(each.tried) for each in panel.assistants] == [{"teacher"}, {"teacher", "middle"}]
    assert all(each.tried[each.learnt_from[0]] == max(each.tried.values()) for each in panel.assistants)
    assert sum(panel.weights["de"]) == pytest.approx(1.0)
    assert problem.panel is not None
    for assistant in problem.panel.assistants:
        assert load_teacher(assistant.config, CPU).digest == assistant.digest
    students = sum(row.seconds for row in result.trials[0].evaluations if row.seconds)
    trained = sum(each.seconds for each in panel.assistants)
    assert result.search_cost["worker_seconds"] == pytest.approx(students + trained)
    assert [event.payload["name"] for event in result.last_events(100) if event.kind == "assistant"] == [
        "middle",
        "small",
    ]
    assert Findings.of(result).to_json()["panel"] == status_json(result)["panel"] == panel_json(panel)
    assert not list(problem.panel_folder.rglob("checkpoint*"))
    assert len(list(problem.panel_folder.rglob("weights*"))) == 2


@pytest.mark.slow  # trains five networks, some of them twice
def test_a_kill_in_the_panel_stage_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = config(MIDDLE, SMALL)
    whole = panel_of(searched(wanted, tmp_path / "whole"))
    result, begun = api.begin(wanted, tmp_path / "killed", reporter=SILENT), list[str]()

    def killed_once(task: EvaluationTask) -> EvaluationResult:
        begun.append(task.key)
        if begun.count(task.key) == 1:
            raise KeyboardInterrupt
        return evaluate(task)

    monkeypatch.setattr("autokd.searches.dispatcher.evaluate", killed_once)
    while True:
        try:
            result.resume()
            break
        except InterruptedSearchError:
            continue
    found = panel_of(result)
    assert len(begun) > len(set(begun)) > 3
    for one, other in zip(whole.assistants, found.assistants, strict=True):
        assert (one.digest, one.tried, one.learnt_from) == (other.digest, other.tried, other.learnt_from)


@pytest.mark.slow  # trains networks
@pytest.mark.parametrize(
    ("accuracies", "learnt_from"), [((0.5, 0.6, 0.7), ("middle",)), ((0.5, 0.7, 0.7), ("teacher",))]
)
def test_the_best_way_is_kept_and_of_equal_ones_the_shorter(
    accuracies: tuple[float, ...], learnt_from: tuple[str, ...], tmp_path: Path, pretending: Callable[..., Any]
) -> None:
    pretending(*accuracies)
    assert panel_of(searched(config(MIDDLE, SMALL), tmp_path)).assistants[1].learnt_from == learnt_from


@pytest.mark.slow  # trains networks
def test_densely_trained_assistants_learn_from_all_before(tmp_path: Path, pretending: Callable[..., Any]) -> None:
    tasks = pretending(0.5, 0.5)
    wanted = config(MIDDLE, SMALL, path="dense", distillation={"ranges": {"temperature": 2.0}})
    panel = panel_of(searched(wanted, tmp_path))
    assert [each.learnt_from for each in panel.assistants] == [("teacher",), ("teacher", "middle")]
    assert [task.method for task in tasks] == ["kd", "dgkd+kd"]
    assert dict(tasks[1].settings) == {"kd.temperature": 2.0, "dgkd.drop": 0}


@pytest.mark.slow  # trains a network
def test_given_and_trained_assistants_mix(tmp_path: Path) -> None:
    panel = panel_of(searched(config(MIDDLE, GIVEN, path="chain"), tmp_path))
    assert [(each.name, each.learnt_from) for each in panel.assistants] == [("middle", ("teacher",)), ("pixels", ())]
    assert panel.assistants[1].params == sum(each.numel() for each in pixels().parameters())


@pytest.mark.slow  # trains a network
def test_an_export_names_assistants_only_if_they_taught(tmp_path: Path) -> None:
    wanted = config(GIVEN)
    methods = DistillationConfig(methods=("kd", "takd+kd"))
    result = searched(wanted.model_copy(update={"distillation": methods}), tmp_path)
    named = {method: exported_panel(result, taught_by(result, method)) for method in ("kd", "takd+kd")}
    assert named == {"kd": None, "takd+kd": panel_json(panel_of(result))}


@pytest.mark.slow  # trains a network
def test_weights_of_the_panel_are_told_only_of_a_student_that_they_taught(tmp_path: Path) -> None:
    methods = DistillationConfig(methods=("takd+kd", "ensemble+kd"), ranges={"ensemble+kd.ensemble.weights": "de"})
    result = searched(config(GIVEN).model_copy(update={"distillation": methods}), tmp_path)
    panel, found = panel_of(result), Findings.of(result)
    assert panel.weights
    for method, expected in {"takd+kd": PanelFacts(panel.assistants), "ensemble+kd": panel}.items():
        shown = replace(found, student=taught_by(result, method))
        assert shown.to_json()["panel"] == exported_panel(result, shown.student) == panel_json(expected)
        assert ("weights" in dict(shown.facts)) == (method == "ensemble+kd")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("best", [("teacher",), ("a",), ("b",)]),
        ("chain", [("b",)]),
        ("dense", [("teacher", "a", "b")]),
    ],
)
def test_the_path_says_from_whom_an_assistant_learns(path: str, expected: list[tuple[str, ...]]) -> None:
    section = PanelConfig.model_validate({"path": path, "assistants": [MIDDLE]})
    assert routes(section, ["a", "b"]) == expected


def test_without_a_panel_the_stage_does_nothing(make_problem: Callable[..., Any]) -> None:
    problem = make_problem()
    assert PanelStage(mock.Mock(), mock.Mock(), problem, mock.Mock()).run() is problem


def test_an_outage_of_the_database_is_waited_out_when_an_assistant_is_recorded(
    make_problem: Callable[..., Any], make_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, panel = make_problem(), PanelFacts(weights={"de": (1.0,)})
    store = make_store(problem)
    store.patience, outage = Patience(60), DatabaseGone("the disk is full")
    unsteady = mock.Mock(wraps=store.set_status, side_effect=[outage, mock.DEFAULT])
    monkeypatch.setattr(store, "set_status", unsteady)
    stage = PanelStage(store, acquire(store, 1), problem, mock.Mock())
    assert stage._recorded(problem, panel).facts.panel == panel
    assert store.search(1).facts["panel"] == json.loads(json.dumps(asdict(panel)))


@pytest.mark.slow  # begins a search
def test_who_trains_the_students_does_not_train_assistants(tmp_path: Path) -> None:
    result = api.begin(config(MIDDLE), tmp_path, reporter=SILENT)
    with pytest.raises(InputError, match="panel: the workers of `resume` train assistants"), result.asking():
        pass


@pytest.mark.slow  # begins a search
def test_who_trains_the_students_gets_methods_that_know_the_weights(tmp_path: Path) -> None:
    result = api.begin(config(GIVEN, method="ensemble+kd"), tmp_path, reporter=SILENT)
    with result.asking() as asking:
        asked = asking.ask()
        assert asked is not None
        method = asked.make_method()
        method.prepare(
            Outputs(torch.zeros(1, 10)),
            Outputs(torch.zeros(1, 10), others=(Outputs(torch.zeros(1, 10)),)),
            torch.zeros(1),
        )
    assert isinstance(method, Ensemble)
    assert method.weights.tolist() == pytest.approx(panel_of(result).weights["de"])


@pytest.mark.slow  # trains networks
def test_a_searched_path_says_which_assistants_teach(tmp_path: Path) -> None:
    wanted = config(MIDDLE, SMALL, path="search")
    wanted = wanted.model_copy(
        update={"trials": 5, "optimizer": wanted.optimizer.model_copy(update={"pruner": "none"})}
    )
    result = searched(wanted, tmp_path)
    problem, taught = result.problem, set[tuple[str, ...]]()
    digests = {each.name: each.digest for each in panel_of(result).assistants}
    for record in result.trials:
        task = problem.task(record.trial, record.students[0], 0)
        assert task.context.panel is not None
        assert task.key == record.evaluations[0].key
        names = tuple(str(record.trial.parameters["path"]).split("+"))
        assert task.context.panel.digests == [digests[name] for name in names]
        shown = problem.panel_for(record.trial)
        assert shown is not None
        assert tuple(each.name for each in shown.assistants) == names
        taught.add(names)
    assert len(taught) > 1


@pytest.mark.slow  # trains networks
@pytest.mark.parametrize("path", ["best", "dense"])
def test_images_that_teachers_got_for_trainings_of_assistants_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    wanted, stored = config(MIDDLE, SMALL, path=path, epochs=2), dict[tuple[Path, str], int]()
    wanted = wanted.model_copy(update={"final": wanted.final.model_copy(update={"views": 2})})
    write = TeacherCache.write

    def counting(cache: TeacherCache, name: str, outputs: Any, n_samples: int, *further: Any) -> None:
        stored[cache.folder, name] = n_samples
        write(cache, name, outputs, n_samples, *further)

    monkeypatch.setattr(TeacherCache, "write", counting)
    result = searched(wanted, tmp_path)
    assert len({folder for folder, _ in stored}) == 3  # of the teacher and of both assistants
    assert result.search_cost["teacher_images"] == sum(stored.values())


@pytest.mark.slow  # trains networks
def test_an_assistant_whose_files_are_gone_is_trained_again(tmp_path: Path) -> None:
    result = searched(config(MIDDLE, SMALL), tmp_path)
    before, folder = panel_of(result), result.problem.panel_folder
    weights = [weights_file(folder, str(each.key)) for each in before.assistants]
    assert all(file.exists() for file in weights)
    more = result.config.model_copy(update={"trials": 2})
    shutil.rmtree(folder)
    shutil.rmtree(tmp_path / "teachers")
    heard = list[str]()

    class Listening(Silent):
        def notify(self, line: str) -> None:
            heard.append(line)

    again = api.find("first", tmp_path, Listening()).resume(more)
    assert panel_of(again) == before
    assert again.progress.complete == 2
    assert all(file.exists() for file in weights)
    gone = "its files are gone, so it is trained again"
    assert [line for line in heard if gone in line] == [f"assistant {name}: {gone}" for name in ("middle", "small")]


@pytest.mark.slow  # trains networks
def test_an_assistant_that_cannot_be_made_as_it_was_ends_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = searched(config(MIDDLE), tmp_path)
    (known,) = panel_of(result).assistants
    weights_file(result.problem.panel_folder, str(known.key)).unlink()
    other = replace(known, digest="0" * 64)
    monkeypatch.setattr("autokd.searches.panel_stage._known", lambda problem: {other.name: other})
    with pytest.raises(AutoKDError, match=r"^assistant 'middle': its files in .* gives another network: bring them"):
        result.resume(result.config.model_copy(update={"trials": 2}))


@pytest.mark.slow  # trains networks
def test_what_a_kill_leaves_of_trainings_of_assistants_is_removed(tmp_path: Path) -> None:
    result = searched(config(MIDDLE), tmp_path)
    folder = result.problem.panel_folder
    (kept,) = (weights_file(folder, str(each.key)) for each in panel_of(result).assistants)
    left = [folder / ("0" * 24) / "weights-0.safetensors", kept.with_name("checkpoint.safetensors")]

    def leave() -> None:
        for file in left:
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(b"left")

    leave()
    collected = collect_garbage(result.home, ["first"])
    assert [each.files for each in collected if each.kind == "trainings of assistants"] == [tuple(left)]
    leave()
    result.resume(result.config.model_copy(update={"trials": 2}))
    assert not any(file.exists() for file in left)
    assert kept.exists()
