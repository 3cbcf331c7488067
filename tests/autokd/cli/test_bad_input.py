"""What cannot be used is said in one line with its exit code, and nothing is written or lost."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from autokd.recipes.teachers import digits

MODULE = """
import torch
from autokd.recipes.teachers import digits

def guessing(): return digits()
def no_model(): return 5
def eleven_classes():
    from autokd.recipes.teachers import ResidualTeacher
    return ResidualTeacher(1, 11, (4,))
def failing(): raise OSError("no disk")
def wants_colour(): return torch.nn.Conv2d(3, 10, 8)
def trained():
    from autokd.config.schema import TeacherConfig
    from autokd.teachers.registry import load_teacher
    config = TeacherConfig(factory="autokd.recipes.teachers:digits", weights="autokd.recipes:digits.safetensors")
    return load_teacher(config, torch.device("cpu"))
def unnormalised():
    teacher = trained()
    return lambda images: teacher(images * 100 + 1000)
def no_data(): return 5
"""


@pytest.fixture(autouse=True)
def _bad_module(_elsewhere: None) -> None:
    Path("my_bad.py").write_text(MODULE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("trails=3", "command line: unknown key 'trails'; the nearest known is 'trials'."),
        ("training.augmentation.shft=1", "unknown key 'training.augmentation.shft'; the nearest known is 'shift'."),
        ("trials='many'", "command line: trials: input should be a valid integer"),
        ("trials=0", "trials: input should be greater than 0, but got 0."),
        ("training.rungs=[2, 1]", "training.rungs: rungs must increase, but are [2.0, 1.0]."),
        ("budget=5", "budget: must be a section with keys of its own, but got 5."),
        (
            "space.ranges.top_nodes={a=1}",
            "Unknown dimension of space 'nago' 'top_nodes.a'. Did you mean 'top_nodes'?",
        ),
        ("budget.of_teacher.params=2", "budget.of_teacher.params: input should be less than or equal to 1, but got 2."),
        ("budget.of_teacher.params=1e-9", "budget.of_teacher.params: 1e-09 of the teacher's 77,754 is less than 1."),
        (
            "distillation.method=takd+kd",
            "distillation method 'takd+kd' learns from assistants: describe some in [[panel",
        ),
        ("panel.path=best", "'panel.assistants' is missing."),
        ("trials", "an override must be `key=value`, but got 'trials'."),
        ("min_trials=9", "command line: min_trials: needs seconds, into which 9 trials are to fit."),
        ("stop.gain=-0.1", "command line: stop.gain: input should be greater than or equal to 0, but got -0.1."),
        ("stop.gain=101", "stop.gain: input should be less than or equal to 100, but got 101."),
        ("stop.gain=true", "stop.gain: must be a number, but got true."),
        ("stop.gian=1", "unknown key 'stop.gian'; the nearest known is 'gain'."),
        ("final.seconds=nan", "final.seconds: input should be a finite number, but got nan."),
        ("final.seconds=0", "final.seconds: input should be greater than 0, but got 0."),
        ("final.seconds=true", "final.seconds: must be a number, but got true."),
        ("trials.x=5", "'trials' is a value, not a section."),
        ("name='a b'", "name: string should match pattern"),
        ("space.name=nagoo", "space: Unknown search space 'nagoo'. Did you mean 'nago'? Known: blocks, "),
        ("space.ranges.top_nods=[3, 4]", "Did you mean 'top_nodes'?"),
        ("space.ranges.top_nodes=[1, 200]", "`3 <= low <= high <= 1000` must hold for `top_nodes`"),
        (
            "distillation.method=dk",
            "several joined by '+', or two in turn, `first>last`, but got 'dk'; the nearest known is 'dkd'",
        ),
        ("optimizer.name=tpee", "optimizer: Unknown sampler 'tpee'. Known: trust-region, random, tpe, gp"),
        ("optimizer.pruner=halve", "optimizer.pruner: Unknown pruner 'halve'. Known: halving, median, none"),
        ("optimizer.options.model=bo", '`model` must be "own" or "botorch", but got \'bo\''),
        ("optimizer.options.foo=3", "'trust-region' cannot be made with the options {'foo': 3}: "),
        ("workers.engine=locl", "workers: `engine` must be one of dask, inline, local, ray, but got 'locl'."),
        ("workers.count=2", "(workers.count) must be 1, but is 2"),
        ("workers.device=gpu", "workers.device 'gpu' is not usable here: "),
        ("teacher.floor=1.0", "the teacher's validation accuracy is 99.33%, below teacher.floor = 100.00%."),
        ("teacher.factory=my_nowhere:teacher", "teacher.factory: cannot import 'my_nowhere': ModuleNotFoundError"),
        ("teacher.factory=autokd.recipes.teachers:digit", "has no 'digit'; the nearest known is 'digits'."),
        ("data.source=digit", "but got 'digit'; the nearest known is 'digits'."),
        ("data.source=my_bad:no_data", "or an autokd.Dataset, but returned int."),
        ("data.subset=100000", "data digits: a subset must be 1..1137 samples, but got 100000."),
    ],
)
def test_a_setting_that_is_not_allowed_is_named(refused, change: str, message: str):
    assert message in refused(change)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("failing", "teacher.factory: my_bad:failing() fails: OSError: no disk."),
        ("no_model", "must return a module or a callable, not int."),
        (
            "eleven_classes",
            "the teacher gives (11,) outputs a sample, but the data has 10 classes: teacher.classes says",
        ),
        ("wants_colour", "the teacher fails on images of (1, 8, 8): RuntimeError: "),
        ("guessing", "hardly better than always choosing the most frequent class"),
        ("unnormalised", "check its weights and what inputs it wants, or set teacher.floor."),
    ],
)
def test_a_teacher_that_is_of_no_use_is_refused(refused, factory: str, message: str):
    from autokd.recipes.catalogue import recipe_path

    text = recipe_path("digits").read_text().replace('weights = "autokd.recipes:digits.safetensors"', "")
    Path("digits").write_text(
        text.replace("floor = 0.97", "").replace("autokd.recipes.teachers:digits", f"my_bad:{factory}")
    )
    assert message in refused()


def test_a_budget_that_no_student_meets_prints_the_table_and_exits_with_3(invoke, tiny, tmp_path: Path):
    outcome = invoke("search", "digits", *tiny, "--set", "budget.params=100", "--home", tmp_path / "new")
    assert outcome.code == 3
    (line,) = outcome.err.splitlines()
    assert line.startswith("autokd: the budget cannot be met: params <= 100, but the smallest student has 811.")
    assert [row.split()[-1] for row in outcome.out.splitlines() if row.strip().startswith("params")] == ["NO"]
    assert not (tmp_path / "new").exists()


def test_missing_files_are_named(refused, tmp_path: Path):
    here = Path.cwd()
    assert f"there is no file {here / 'none.safetensors'}." in refused("teacher.weights=none.safetensors")
    assert f"data {here / 'none.npz'} is not a readable .npz archive" in refused("data.source=none.npz")
    assert "a folder, `hf:user/name` or `module:function`, but got '/no/images'" in refused("data.source=/no/images")
    (here / "images").mkdir()
    assert f"data {here / 'images'}: needs a folder `train`" in refused("data.source=images")


def test_weights_that_are_damaged_or_of_another_network_are_refused(refused):
    weights = {name: tensor.contiguous() for name, tensor in digits().state_dict().items()}
    save_file(weights, "w.safetensors")
    Path("half.safetensors").write_bytes(Path("w.safetensors").read_bytes()[:5000])
    save_file({"a": torch.zeros(1)}, "other.safetensors")
    assert "half.safetensors is not a readable file of tensors" in refused("teacher.weights=half.safetensors")
    assert "other.safetensors does not fit 'autokd.recipes.teachers:digits'" in refused(
        "teacher.weights=other.safetensors"
    )
    Path("w.safetensors").rename("w.npz")
    assert "must end in .safetensors, .pth, .pt, .th, .ckpt or .bin, but got 'w.npz'." in refused(
        "teacher.weights=w.npz"
    )


def test_data_that_do_not_fit_are_refused(refused):
    np.savez("odd.npz", train_images=np.zeros((9, 8, 8)), train_labels=np.arange(9))
    assert "images must be uint8" in refused("data.source=odd.npz")
    np.savez("few.npz", train_images=np.zeros((9, 8, 8), np.uint8))
    assert "needs train_images and train_labels" in refused("data.source=few.npz")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search", "digts"], "there is no recipe 'digts': choose one of digits, fashion-mnist"),
        (["search", "none.toml"], "none.toml: No such file or directory."),
        (["search", "bad.toml"], "bad.toml is not TOML: "),
        (["search", "empty.toml"], "empty.toml: 'data' is missing."),
        (["init", "digts"], "there is no recipe 'digts'"),
        (["status", "digits"], "there is no search in "),
        (["verify", "none"], "none is not an exported folder: it has no readable manifest.json."),
    ],
)
def test_a_file_or_name_that_is_not_there_is_named(invoke, words: list[str], message: str):
    Path("bad.toml").write_text("trials = = 3")
    Path("empty.toml").write_text("")
    outcome = invoke(*words)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("autokd: ")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err
    assert not Path("autokd-runs").exists()


def test_export_leaves_a_folder_alone_that_holds_anything_else(invoke, finished: Path, tmp_path: Path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("precious")
    outcome = invoke("export", "digits", mine, "--home", finished)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    shutil.copytree(finished / "exported", mine, dirs_exist_ok=True)
    outcome = invoke("export", "digits", mine, "--home", finished)
    assert "holds more than an export (thesis.txt): choose another folder, or move that elsewhere." in outcome.err
    assert (mine / "thesis.txt").read_text() == "precious"


def test_a_folder_that_cannot_be_exported_to_is_refused_before_the_search(invoke, tiny, tmp_path: Path):
    Path("mine.txt").write_text("precious")
    outcome = invoke("search", "digits", *tiny, "--export", Path.cwd(), "--home", tmp_path / "new")
    assert (outcome.code, outcome.err.count("\n"), outcome.out) == (2, 1, "")
    assert not (tmp_path / "new").exists()


def test_the_export_of_an_earlier_search_is_not_replaced_by_a_new_one(invoke, tiny, finished: Path) -> None:
    outcome = invoke("search", "digits", *tiny, "--export", finished / "exported", "--home", Path("new").absolute())
    assert (outcome.code, outcome.err.count("\n"), outcome.out) == (2, 1, "")
    assert (
        "holds the export of another search, 'digits': choose another folder, or replace it with --force" in outcome.err
    )
    assert not Path("new").exists()


@pytest.mark.parametrize("name", ["model.py", "weights.safetensors", "architecture.json", "probe.safetensors"])
def test_verify_names_the_file_that_was_changed_or_is_missing(invoke, finished: Path, tmp_path: Path, name: str):
    folder = Path(shutil.copytree(finished / "exported", tmp_path / "exported"))
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    outcome = invoke("verify", folder)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"autokd: {folder / name} was changed since the export: its SHA-256 is not the manifest's.\n"
    (folder / name).unlink()
    assert invoke("verify", folder).err == f"autokd: {folder} is incomplete: {name} is missing.\n"


def test_a_search_whose_trials_all_fail_exits_with_5(invoke, tiny, tmp_path: Path):
    wild = ("--set", "training.learning_rate=1e30", "--set", "trials=2")
    outcome = invoke("search", "digits", *tiny, *wild, "--home", tmp_path / "new")
    assert outcome.code == 5
    assert outcome.err.startswith("autokd: no trial could be trained; 2 of 2 failed with: DivergedError: ")
    status = invoke("status", "digits", "--home", tmp_path / "new").out
    assert "digits (failed)" in status
    assert "2 x DivergedError" in status


def test_a_search_whose_time_is_over_before_its_first_trial_goes_on_with_more(invoke, tiny, tmp_path: Path):
    short = ("--set", "references.names=['resnet']", "--set", "seconds=0.01", "--set", "data.subset=300")
    outcome = invoke("search", "digits", *tiny, *short, "--home", tmp_path / "new")
    line = (
        "autokd: the `seconds` of search 'digits' were over before its first trial; "
        f"`autokd resume digits --home {tmp_path / 'new'} --set seconds=...` with more of them goes on.\n"
    )
    assert (outcome.code, outcome.err) == (4, line)
    again = invoke("resume", "digits", "--home", tmp_path / "new")
    assert (again.code, again.err) == (4, line)
    assert "digits (interrupted)" in invoke("status", "digits", "--home", tmp_path / "new").out
    assert invoke("resume", "digits", "--home", tmp_path / "new", "--set", "seconds=60").code == 0
