import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_searches import Bands, Stopping
from torch import Tensor, nn

import autokd
from autokd.config.toml import override_config
from autokd.data.dataset import Dataset
from autokd.database.lease import acquire, release
from autokd.errors import InputError, InterruptedSearchError
from autokd.export.verification import verify_folder
from autokd.optimizers.models.posterior import Posterior
from autokd.searches.api import find_all
from autokd.searches.reporter import Silent
from autokd.searches.retraining import Retraining
from autokd.searches.workspace import Workspace
from autokd.teachers.outputs.key import OutputsKey
from autokd.training.metrics import label_metrics
from search_spaces.spaces.nago import Nago
from workers.errors import EngineLost


class Thirds(nn.Module):
    """Knows the answer for signals and vectors: the class is the largest third of the positions."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(8.0))

    def forward(self, inputs: Tensor) -> Tensor:
        thirds = inputs.reshape(len(inputs), -1, 3, inputs.shape[-1] // 3)
        return self.scale * thirds.mean((1, 3))


def arrays(dataset: Dataset) -> dict[str, Any]:
    parts = dataset.splits.items()
    images = {f"{part}_images": split.images.numpy() for part, split in parts}
    return images | {f"{part}_labels": split.labels.numpy() for part, split in parts}


def test_a_search_of_objects_ends_with_a_module_of_the_recorded_accuracy(search, dataset: Dataset):
    result = search()
    assert result.progress.status == "finished"
    module, (images, labels) = result.best.module(), (dataset.validation.images, dataset.validation.labels)
    with torch.inference_mode():
        found = label_metrics(module(images.permute(0, 3, 1, 2)), labels)
    assert found["accuracy"] == result.best.metrics["accuracy"]
    assert found["loss"] == pytest.approx(result.best.metrics["loss"], rel=0.05)  # trained in bfloat16, perhaps
    assert len(result.families) == 2


@pytest.mark.slow  # a fresh interpreter loads torch
def test_the_winner_is_trained_and_exported(search, home: Workspace, dataset: Dataset, tmp_path: Path):
    result = search()
    trained = result.train()
    assert trained[0].weights == result.best.weights
    assert result.best.is_final
    verification = result.export(str(tmp_path / "student"))
    assert verification.test_accuracy == trained[0].metrics["test_accuracy"]
    assert verify_folder(tmp_path / "student", dataset.test) == verification
    assert result.row.facts["teacher_test_metrics"]["accuracy"] == 1.0


def test_a_second_search_in_a_process_sees_data_that_changed_in_the_meantime(search, dataset: Dataset, tmp_path: Path):
    file = tmp_path / "own.npz"
    np.savez(file, **arrays(dataset))
    first = search(data=str(file)).row.facts["data_digest"]
    images = arrays(dataset)
    images["train_images"] = 255 - images["train_images"]
    np.savez(file, **images)
    assert search(data=str(file)).row.facts["data_digest"] != first


def test_training_at_full_length_leaves_a_search_as_it_stands(search, home: Workspace, monkeypatch: pytest.MonkeyPatch):
    result = search(final={"epochs": 2, "families": 1})
    result.train()
    assert result.progress.status == "finished"
    with home.open() as store:
        lease = acquire(store, result.name)
        more = override_config(result.config, ["trials=9"])
        store.set_config(lease, more.to_dict(), more.digest)
        store.set_status(lease, "interrupted")
        release(store, lease)
    result.train()
    assert (result.progress.status, result.progress.share_done) == ("interrupted", pytest.approx(2 / 9))
    result.resume(override_config(result.config, ["trials=2"]))

    def interrupt(self: Retraining) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Retraining, "run", interrupt)
    with pytest.raises(InterruptedSearchError, match=r"\.train\(\)` goes on"):
        result.train()
    assert result.progress.status == "finished"


def test_training_with_fewer_views_takes_nothing_from_what_the_teacher_had_to_see(search):
    result = search(final={"epochs": 3, "views": 3})
    result.train()
    paid = result.search_cost["teacher_images"]
    result.train(override_config(result.config, ["final.views=1"]))
    assert result.config.final.views == 1
    assert result.search_cost["teacher_images"] == paid


def test_the_family_that_is_trained_is_the_one_that_the_model_believes_in(search, monkeypatch: pytest.MonkeyPatch):
    result = search(training={"rungs": [1], "views": 1, "batch_size": 20}, final={"epochs": 2, "families": 1})
    lucky = result.progress.best_trial

    def estimates(study: Any, space: Any, numbers: Sequence[int], *_: Any, **__: Any) -> Posterior:
        means = tuple(0.0 if number == lucky else 1.0 for number in numbers)
        return Posterior(means, (0.1,) * len(means), means, means, means)

    monkeypatch.setattr("autokd.searches.families.posterior", estimates)
    trained = result.train()
    assert {student.trial.number for student in trained} == {result.families[0].trial} == {1 - lucky}


@pytest.mark.slow  # fresh interpreters load torch
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(("shape", "input_shape"), [((24, 3), (3, 24)), ((24,), (24,))], ids=["signals", "vectors"])
def test_signals_and_vectors_are_searched_trained_and_exported_as_images_are(
    search, make_dataset, tmp_path: Path, shape, input_shape, dtype
):
    dataset = make_dataset(train=240, shape=shape, dtype=dtype)
    result = search(teacher=Thirds(), data=dataset, training={"rungs": [2, 4], "batch_size": 20}, final={"epochs": 8})
    assert result.problem.facts.input_shape == input_shape
    assert result.problem.context.outputs_needed == [OutputsKey(0, 0), OutputsKey(0, part="validation")]
    trained = result.train()
    assert trained[0].metrics["test_accuracy"] > 0.8
    with torch.inference_mode():
        logits = trained[0].module()(dataset.test.images.movedim(-1, 1))
    assert label_metrics(logits, dataset.test.labels)["accuracy"] == trained[0].metrics["test_accuracy"]
    verification = result.export(tmp_path / "student")
    assert verification.test_accuracy == trained[0].metrics["test_accuracy"]
    assert verify_folder(tmp_path / "student", dataset.test) == verification
    shown = json.loads((tmp_path / "student" / "manifest.json").read_text())["input"]
    assert (shown["shape"], shown["scale"]) == (
        list(input_shape),
        1 if dtype == torch.float32 else 1 / 255,
    )
    assert (shown["mean"], shown["deviation"]) == tuple(map(list, dataset.normalisation))


def test_augmentation_of_vectors_is_refused_before_anything_is_recorded(search, home: Workspace, make_dataset):
    training = {"augmentation": {"cutout": 2}}
    with pytest.raises(InputError, match=r"^training.augmentation is for images, but the data are vectors of 24"):
        search(teacher=Thirds(), data=make_dataset(shape=(24,)), training=training)
    assert not home.exists


def test_students_of_the_best_families_are_trained_in_full_and_the_best_of_them_counts(search):
    result = search(trials=3, optimizer={"pruner": "none"}, final={"epochs": 2, "families": 2})
    best = [family.trial for family in result.families]
    students = result.train()
    assert sorted(student.trial.number for student in students) == sorted(best[:2])
    accuracies = [student.metrics["accuracy"] for student in students]
    assert accuracies == sorted(accuracies, reverse=True)
    assert result.best.row == students[0].row


class Lines(Silent):
    """Keeps the lines that the user should read."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def notify(self, line: str) -> None:
        """Keep it."""
        self.heard.append(line)


def test_a_search_that_prunes_early_says_so(search):
    reporter = Lines()
    search(reporter=reporter)
    assert [line for line in reporter.heard if line.startswith("trials are pruned after")]


def test_a_dict_of_arrays_is_data(search, dataset: Dataset):
    result = search(data=arrays(dataset))
    assert result.problem.facts.classes == 3
    assert result.progress.finished == 2


@pytest.mark.parametrize("kind", [str, Path])
def test_an_archive_is_data_from_whatever_folder_the_search_goes_on(
    search, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type
):
    np.savez(tmp_path / "mine.npz", **arrays(dataset))
    monkeypatch.chdir(tmp_path)
    result = search(data=kind("mine.npz"))
    assert result.config.data.source == str(tmp_path / "mine.npz")
    monkeypatch.chdir("/")
    result.train()


def test_a_folder_of_images_is_data(search, dataset: Dataset, tmp_path: Path):
    for number, (image, label) in enumerate(zip(dataset.train.images, dataset.train.labels, strict=True)):
        file = tmp_path / "images" / "train" / f"class {label}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[:, :, 0].numpy()).save(file)
    result = search(data=tmp_path / "images")
    assert result.problem.facts.input_shape == (1, 6, 6)
    assert result.progress.finished == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": 5}, "teacher must be a module, a callable, 'module:function', a file or a dict of out"),
        ({"data": 5}, "data must be a dict of arrays, an autokd.Dataset or the name of a source, but is a int."),
        ({"data": {"images": []}}, "data data: needs train_images and train_labels"),
        ({"teacher": Bands(2)}, "the teacher gives (2,) outputs a sample, but the data has 3 classes."),
        ({"floor": 1.0, "teacher": lambda images: images.mean((1, 3))[:, :3]}, "below teacher.floor = 100.00%."),
        ({"trails": 3}, "configuration: unknown key 'trails'; the nearest known is 'trials'."),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_recorded(search, home: Workspace, changes, message: str):
    with pytest.raises(InputError) as caught:
        search(**changes)
    assert message in str(caught.value)
    assert not home.exists


def test_an_interrupted_search_is_found_by_name_and_goes_on(search, home: Workspace):
    with pytest.raises(InterruptedSearchError):
        search(reporter=Stopping())
    found = autokd.find("search", home)
    assert found.progress.status == "interrupted"
    with pytest.raises(InterruptedSearchError, match=r"`autokd resume search --home .*` goes on"):
        found.with_reporter(Stopping()).resume()
    found.resume()
    assert (found.progress.status, found.progress.finished) == ("finished", 2)


class Unplugging(Silent):
    """Ends the cluster when the first trial has ended."""

    def searched(self, progress: Any) -> None:
        if progress.finished:
            raise EngineLost("The scheduler is gone.")


def test_a_search_whose_cluster_is_gone_is_interrupted_and_goes_on(search, home: Workspace) -> None:
    with pytest.raises(InterruptedSearchError, match=r"was interrupted: The scheduler is gone; `autokd.* goes on"):
        search(reporter=Unplugging())
    assert autokd.find("search", home).resume().progress.status == "finished"


def test_a_space_may_be_given_as_its_class(search) -> None:
    result = search(space=Nago)
    assert result.config.space.name == "search_spaces.spaces.nago:Nago"
    assert result.progress.finished == 2


def test_a_list_of_spaces_is_a_choice_that_ends_with_a_student_of_either(search, tmp_path: Path) -> None:
    ranges = {"blocks.head_ratio": 0, "search_spaces.spaces.nago:Nago": {"top_nodes": 3, "middle_nodes": 1}}
    result = search(space=[Nago, "blocks"], ranges=ranges)
    spaces = [record.trial.parameters["space"] for record in result.trials]
    assert spaces == ["search_spaces.spaces.nago:Nago", "blocks"]
    assert {family.description.partition(": ")[0] for family in result.families} == set(spaces)
    result.export(tmp_path / "student")
    family = json.loads((tmp_path / "student" / "manifest.json").read_text())["family"]
    assert family["space"] == result.best.trial.parameters["space"]


def test_all_public_names_are_there():
    assert all(getattr(autokd, name).__doc__ for name in autokd.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'serach'"):
        _ = autokd.serach


@pytest.mark.slow  # worker processes of its own
def test_workers_find_a_users_module_in_the_current_folder(tmp_path: Path, dataset: Dataset):
    np.savez(tmp_path / "arrays.npz", **arrays(dataset))
    (tmp_path / "my_module.py").write_text(
        "import numpy, pathlib\n"
        "def data(): return dict(numpy.load(pathlib.Path(__file__).parent / 'arrays.npz'))\n"
        "def teacher(): return lambda images: images.mean((1, 3)).unflatten(1, (3, 2)).mean(2)\n"
    )
    (tmp_path / "search.toml").write_text(
        "trials = 2\n[data]\nsource = 'my_module:data'\n[teacher]\nfactory = 'my_module:teacher'\n[budget]\n"
        "params = 3000\n[space]\nname = 'nago'\n[space.ranges]\ntop_nodes = 3\nmiddle_nodes = 1\nbottom_nodes = 3\n"
        "[training]\nrungs = [1]\n"
        "[references]\nnames = []\n"
    )
    command = [sys.executable, "-m", "autokd", "search", "search.toml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2/2 trials" in done.stdout


def test_data_in_memory_may_have_settings(search, dataset: Dataset) -> None:
    assert search(data_settings={"subset": 40}).problem.facts.n_train == 40
    with pytest.raises(InputError, match=r"data\.subse"):
        search(data_settings={"subse": 40})
    given = {key: array for key, array in arrays(dataset).items() if not key.startswith("validation")}
    with pytest.raises(InputError, match=r"data\.validation: input should be a valid integer, .*, but got 'many'\.$"):
        search(data=given, data_settings={"validation": "many"})


def test_the_package_lists_its_public_names() -> None:
    assert set(autokd.__all__) <= set(dir(autokd))


def test_a_result_is_shown_in_one_line(search) -> None:
    result = search()
    assert result.resume() == result
    assert re.fullmatch(
        r"<SearchResult 'search': finished, 2 of 2 trials, best [\d.]+ % with [\d.]+ k parameters>", repr(result)
    )
    assert re.fullmatch(
        r"<TrainedStudent of trial \d: [\d.]+ k parameters, [\d.]+ k MACs, [\d.]+ % validation accuracy after 2 .*>",
        repr(result.best),
    )


def test_a_result_whose_search_is_gone_says_so(home: Workspace) -> None:
    assert repr(autokd.SearchResult(home, "gone", None, Silent())).startswith(
        "<SearchResult 'gone': there is no search"
    )


def test_trials_are_a_dataframe_as_optuna_makes_it(search, monkeypatch: pytest.MonkeyPatch) -> None:
    result = search()
    table = result.trials_dataframe()
    assert list(table["number"]) == [0, 1]
    assert {"value", "state", "params_temperature"} <= set(table.columns)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match="trials_dataframe needs pandas: pip install pandas"):
        result.trials_dataframe()


@pytest.mark.parametrize(
    ("budget", "message"),
    [(5000, "budget: must be a section with keys"), ({"flops": 5}, "unknown key 'budget.flops'"), (None, "budget")],
)
def test_a_budget_that_is_none_is_an_input_error(search, budget: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        search(budget=budget)


def test_a_budget_may_be_a_dict(search) -> None:
    assert search(budget={"params": 3_000}).config.budget == autokd.Budget(params=3_000)


def test_shares_of_the_teacher_are_limits_in_python_too(search) -> None:
    with pytest.raises(InputError, match=r"budget\.of_teacher\.params: 0\.25 of the teacher's 1 is less than 1\."):
        search(budget=autokd.Budget(of_teacher={"params": 0.25}))


def test_python_hears_of_the_progress_on_a_terminal_and_in_a_notebook(
    search, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", sys)  # as any library may have imported it
    search()
    assert capsys.readouterr().out == ""
    shell = SimpleNamespace(kernel="a kernel")
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    search().train()
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "there is a search 'search' already: this one is called 'search-2'",
        "reading data, decoding images ...",
        "asking the teacher about the validation samples ...",
    ]
    assert "search search-2 begins" in lines
    assert "search search-2 ends after 2 of 2 trials" in lines
    assert re.match(r"full length: trial \d, student 0: [\d.]+ % after 2 epochs; trial \d, student 0: ", lines[-1])


UNGUARDED = """
import autokd
autokd.search(
    teacher="autokd.recipes.teachers:digits", weights="autokd.recipes:digits.safetensors", data="digits", home="runs",
    budget={"params": 3_000}, trials=2, training={"rungs": [1], "views": 1}, workers={"count": 1},
    references={"names": []},
)
"""


@pytest.mark.slow  # worker processes of its own
def test_a_script_that_searches_whenever_it_is_imported_ends_at_once_with_one_search(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(UNGUARDED)
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    told, *trace = done.stderr.splitlines()
    assert told.startswith("This process imports the main script, which starts workers: put what starts them under `if")
    assert trace[0].startswith("Traceback")
    assert trace[-1].startswith("autokd.errors.InputError: Every worker imports the main script")
    assert done.stderr.count("Traceback") == 1
    (found,) = find_all(tmp_path / "runs")
    assert (found.progress.status, found.trials) == ("interrupted", [])
