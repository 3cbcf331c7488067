import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from autokd.config.parsing import differences, parse_config, recorded_config
from autokd.config.schema import SearchConfig, TrainingConfig
from autokd.config.teacher import PruningConfig, TeacherConfig, pruning_rounds
from autokd.config.toml import override_config, read_config
from autokd.errors import InputError
from search_spaces.design.budget import Budget

MINIMAL: dict[str, Any] = {
    "name": "first",
    "data": {"source": "digits"},
    "teacher": {"factory": "module:teacher"},
    "budget": {"params": 1000},
}


def changed(**values: Any) -> dict[str, Any]:
    return {**MINIMAL, **values}


@pytest.fixture
def config() -> SearchConfig:
    return parse_config(MINIMAL)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my-search.toml"
    path.write_text(
        "[data]\nsource = 'images'\nfolder = 'raw'\n[teacher]\nfactory = 'm:t'\nweights = 'w.safetensors'\n"
        "[budget]\nparams = 1000\n"
    )
    return path


def test_defaults_stand_where_nothing_is_said(config: SearchConfig):
    assert config.training.rungs == (1.0, 3.0)
    assert config.space.listed == ("nago", "blocks", "like-teacher")
    assert (config.distillation.names, config.optimizer.name) == (("kd",), "trust-region")
    assert config.budget == Budget(params=1000)


def test_plain_values_read_back_as_the_same_configuration(config: SearchConfig):
    values = json.loads(json.dumps(config.to_dict()))
    assert parse_config(values) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (changed(trails=3), "unknown key 'trails'; the nearest known is 'trials'"),
        (changed(training={"rung": [1]}), "unknown key 'training.rung'; the nearest known is 'rungs'"),
        (
            changed(training={"augmentation": {"cutoff": 1}}),
            "unknown key 'training.augmentation.cutoff'; the nearest known is 'cutout'",
        ),
        ({k: v for k, v in MINIMAL.items() if k != "budget"}, "'budget' is missing"),
        (changed(budget={}), "budget: at least one limit must be set: params, macs"),
        (changed(trials=0), "trials: input should be greater than 0, but got 0"),
        (changed(training={"rungs": [3, 1]}), "training.rungs: rungs must increase, but are [3.0, 1.0]"),
        (changed(training={"precision": "half"}), "training.precision: input should be 'auto', 'float32' or"),
        (changed(name="a/b"), "name: string should match pattern"),
        (changed(data="digits"), "data: "),
    ],
)
def test_what_is_wrong_is_said_in_one_line(values: dict[str, Any], message: str):
    with pytest.raises(InputError) as caught:
        parse_config(values, "my.toml")
    assert str(caught.value).startswith(f"my.toml: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("trials=7", ("trials",), 7),
        ("training.rungs=[1, 9]", ("training", "rungs"), [1.0, 9.0]),
        ("space.ranges.top_nodes=[3, 4]", ("space", "ranges", "top_nodes"), [3, 4]),
        ("space.name=randwire", ("space", "name"), "randwire"),
        ("training.augmentation.flip=true", ("training", "augmentation", "flip"), True),
        ("data.source='a=b'", ("data", "source"), "a=b"),
        ("tracking.tensorboard=runs", ("tracking", "tensorboard"), str(Path.cwd() / "runs")),
        ("tracking.mlflow='sqlite:///a.db'", ("tracking", "mlflow"), f"sqlite:///{Path.cwd()}/a.db"),
        ("tracking.mlflow='sqlite:////b/a.db'", ("tracking", "mlflow"), "sqlite:////b/a.db"),
        ("tracking.mlflow='http://a'", ("tracking", "mlflow"), "http://a"),
    ],
)
def test_overrides_reach_their_key(config: SearchConfig, override: str, path: tuple[str, ...], value: Any):
    values: Any = override_config(config, [override]).to_dict()
    for part in path:
        values = values[part]
    assert values == value


@pytest.mark.parametrize(
    ("override", "section"),
    [
        ("space.name=blocks", {"name": "blocks", "ranges": {}, "tilt": "full", "stem": "auto"}),
        (
            "space.names=['blocks', 'randwire']",
            {"names": ["blocks", "randwire"], "ranges": {}, "tilt": "full", "stem": "auto"},
        ),
    ],
)
@pytest.mark.parametrize("before", [{"name": "nago"}, {"names": ["nago", "darts"]}, {}])
def test_an_override_replaces_the_key_that_excludes_it(
    override: str, section: dict[str, Any], before: dict[str, Any]
) -> None:
    assert override_config(parse_config(changed(space=before)), [override]).to_dict()["space"] == section


def test_one_of_several_spaces_is_chosen_with_its_own_ranges() -> None:
    ranges = {"nago": {"top_nodes": [3, 4]}, "blocks.head_ratio": 0, "blocks": {"stage1_depth": 1}}
    several = parse_config(changed(space={"names": ["nago", "blocks"], "ranges": ranges}))
    found = override_config(several, ["space.name=blocks"]).to_dict()["space"]
    assert found == {
        "name": "blocks",
        "ranges": {"head_ratio": 0, "stage1_depth": 1},
        "tilt": "full",
        "stem": "auto",
    }


def test_one_of_several_methods_is_chosen_with_its_own_ranges() -> None:
    several = parse_config(changed(distillation={"methods": ["kd", "dkd"], "ranges": {"kd.weight": 1, "dkd.beta": 2}}))
    found = override_config(several, ["distillation.method=dkd"]).to_dict()["distillation"]
    assert found == {"method": "dkd", "ranges": {"beta": 2}}


def test_methods_are_compared_by_what_means_the_same_for_each() -> None:
    def signal(methods: list[str], **optimizer: str) -> str:
        return parse_config(changed(distillation={"methods": methods}, optimizer=optimizer)).optimizer.signal

    assert signal(["kd", "wttm"]) == "accuracy"
    assert signal(["kd", "wttm"], name="random") == "accuracy"
    assert signal(["kd", "wttm"], signal="teacher_kl") == "teacher_kl"
    assert signal(["kd"]) == "training_cross_entropy" == parse_config(changed()).optimizer.signal


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trials", "an override must be `key=value`, but got 'trials'"),
        ("=3", "an override must be `key=value`"),
        ("name.x=3", "'name' is a value, not a section"),
        ("workers.cuont=3", "--set: unknown key 'workers.cuont'; the nearest known is 'count'"),
    ],
)
def test_bad_overrides_say_why(config: SearchConfig, override: str, message: str):
    with pytest.raises(InputError, match=re.escape(message)):
        override_config(config, [override])


def test_relative_paths_are_of_the_files_folder(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "images").mkdir()
    monkeypatch.chdir(tmp_path.parent)
    config = read_config(Path(tmp_path.name) / file.name)
    assert config.data.source == str(tmp_path / "images")
    assert config.data.folder == tmp_path / "raw"
    assert config.teacher.weights == str(tmp_path / "w.safetensors")


def test_a_named_source_is_no_path_even_where_a_folder_has_its_name(file: Path, tmp_path: Path):
    (tmp_path / "digits").mkdir()
    assert read_config(file, ["data.source=digits"]).data.source == "digits"


def test_weights_inside_a_package_are_no_path(file: Path):
    assert read_config(file, ["teacher.weights='pkg:w.pth'"]).teacher.weights == "pkg:w.pth"


def test_a_search_is_named_by_argument_else_by_the_file(file: Path):
    assert read_config(file).name == "my-search"
    assert read_config(file, name="other").name == "other"


def test_files_that_cannot_be_read_are_input_errors(tmp_path: Path):
    with pytest.raises(InputError, match=r"nowhere.toml: No such file"):
        read_config(tmp_path / "nowhere.toml")
    (tmp_path / "bad.toml").write_text("trials = = 3")
    with pytest.raises(InputError, match=r"bad.toml is not TOML"):
        read_config(tmp_path / "bad.toml")


@pytest.mark.parametrize("override", ["trials=9", "seconds=5", "workers.count=9", "final.epochs=9", "name=other"])
def test_the_digest_ignores_what_a_resumed_search_may_change(config: SearchConfig, override: str):
    assert override_config(config, [override]).digest == config.digest


@pytest.mark.parametrize(
    "override", ["seed=1", "students_per_trial=2", "training.batch_size=9", "budget.macs=9", "space.name=randwire"]
)
def test_the_digest_depends_on_everything_else(config: SearchConfig, override: str):
    assert override_config(config, [override]).digest != config.digest


def test_differences_are_dotted_keys_with_both_values(config: SearchConfig):
    other = override_config(config, ["trials=9", "budget.macs=5", "training.rungs=[2]"])
    assert differences(config, other) == {
        "budget.macs": (None, 5),
        "training.rungs": ([1.0, 3.0], [2.0]),
        "trials": (60, 9),
    }
    assert differences(config, config) == {}


def test_values_of_ranges_keep_their_type():
    text = "ranges = {a = 3, b = 3.0, c = true, d = 'x', e = [1, 2]}"
    ranges = parse_config(changed(space=tomllib.loads(text))).space.ranges
    assert [type(value) for value in ranges.values()] == [int, float, bool, str, list]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"onnx": "t.onnx"},
            "teacher: only one of factory, architecture, onnx and outputs may be set, but got",
        ),
        (
            {"factory": None, "weights": "w.pth"},
            "teacher: weights are for the module of a factory or an architecture, but",
        ),
        ({"preprocess": "m:f", "mean": [0], "deviation": [1]}, "teacher: preprocess does what mean and deviation do"),
        ({"mean": [0.5, 0.5]}, "teacher: mean and deviation go together, but got 2 and 0 values"),
        ({"mean": [0, 0], "deviation": [1, 1, 1]}, "teacher: mean and deviation go together, but got 2 and 3 values"),
        ({"mean": [0.5], "deviation": [0]}, "teacher.deviation.0: input should be greater than 0, but got 0"),
        ({"factory": None, "outputs": "o.npz", "resize": 8}, "teacher: resize is for a network, but outputs are no"),
        ({"classes": [3, 1, 3]}, "teacher.classes: must be different, but 3 comes more than once"),
        ({"classes": [3, -1]}, "teacher.classes.1: input should be greater than or equal to 0, but got -1"),
        ({"output": 1.5}, "teacher.output: must be an index or a name, but got 1.5"),
        ({"output": True}, "teacher.output: must be an index or a name, but got True"),
        ({"resize": "large"}, "teacher.resize: must be a number of pixels, or height and width, but got 'large'"),
        ({"resize": [1, 2, 3]}, "teacher.resize: must be a number of pixels, or height and width, but got [1, 2, 3]"),
        ({"resize": 0}, "teacher.resize.0: input should be greater than 0, but got 0"),
        ({"factory": None, "arguments": {"n": 1}}, "teacher: arguments are for a factory, but there is none"),
        (
            {"arguments": {"n": {"m": 1}}},
            "teacher.arguments: n must be one value or a list of values, but got {'m': 1}",
        ),
        ({"arguments": {"n": [float("nan")]}}, "teacher.arguments: must be a finite number, but got nan"),
        ({"arguments": {"a b": 1}}, "teacher.arguments: must be named as arguments of a function are, but got 'a b'"),
        ({"arguments": [1]}, "teacher.arguments: input should be a valid dictionary, but got [1]"),
    ],
)
def test_settings_of_a_teacher_that_exclude_each_other_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises(InputError) as caught:
        parse_config(changed(teacher={"factory": "m:f"} | settings), "my.toml")
    assert str(caught.value).startswith(f"my.toml: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["download", "config_name", "image_column", "label_column"])
def test_keys_of_data_on_a_hub_are_for_those(key: str):
    value = True if key == "download" else "mine"
    assert parse_config(changed(data={"source": "hf:me/mine", key: value}))
    with pytest.raises(InputError, match=rf"data: {key} is for a source hf:..., but source is 'digits'"):
        parse_config(changed(data={"source": "digits", key: value}))


def test_a_teacher_has_one_source_or_none(config: SearchConfig):
    sources = [{"factory": "m:f"}, {"onnx": "t.onnx"}, {"outputs": "o.npz"}, {}]
    configs = [parse_config(changed(teacher=source)).teacher for source in sources]
    assert [teacher.source for teacher in configs] == ["m:f", "t.onnx", "o.npz", None]
    assert all(isinstance(hash(teacher), int) for teacher in configs)


@pytest.mark.parametrize("key", ["onnx", "outputs"])
def test_files_of_a_teacher_are_of_the_files_folder(tmp_path: Path, key: str):
    (tmp_path / "s.toml").write_text(f"[data]\nsource = 'digits'\n[teacher]\n{key} = 'o'\n[budget]\nparams = 1000\n")
    config = read_config(tmp_path / "s.toml")
    assert config.teacher.source == str(tmp_path / "o")
    packaged = read_config(tmp_path / "s.toml", [f"teacher.{key}='package:o'"])
    assert packaged.teacher.source == "package:o"


def test_a_search_recorded_before_there_were_schedules_goes_on_without_them():
    config = recorded_config(changed(training={"learning_rate": 0.2}), "search old")
    training, final = config.training, config.final
    assert (training.learning_rate, training.schedule, training.optimizer, training.ema) == (0.2, "cosine", "sgd", None)
    assert (final.keep, final.schedule) == ("last", None)


def test_a_recorded_search_goes_on_as_it_was_recorded():
    changes = {"schedule": "cosine", "cooldown": 0.2, "ema": 0.9}
    config = parse_config(changed(training=changes, final={"keep": "best"}))
    assert recorded_config(config.to_dict(), "search new") == config
    assert differences(config, recorded_config(parse_config(MINIMAL).to_dict(), "search first")).keys() == {
        "training.schedule",
        "training.cooldown",
        "training.ema",
    }


def test_keys_that_say_what_was_done_before_they_existed_decide_nothing_new():
    old = {"rungs", "batch_size", "learning_rate", "weight_decay", "warmup", "views", "precision", "augmentation"}
    assert TrainingConfig(schedule="cosine", optimizer="sgd").decisive.keys() == old
    assert TrainingConfig(schedule="stable", optimizer="sgd", ema=0.9).decisive.keys() == old | {"schedule", "ema"}


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"schedule": "linear"}, "training.schedule: input should be 'cosine' or 'stable', but got 'linear'"),
        ({"cooldown": 1}, "training.cooldown: input should be less than 1, but got 1"),
        ({"ema": 1}, "training.ema: input should be less than 1, but got 1"),
        ({"gradient_clip": 0}, "training.gradient_clip: input should be greater than 0, but got 0"),
        ({"optimizer": "adam"}, "training.optimizer: input should be 'sgd', 'muon' or 'adamw', but got 'adam'"),
    ],
)
def test_ways_to_train_that_make_no_sense_are_refused(training: dict[str, Any], message: str):
    with pytest.raises(InputError) as caught:
        parse_config(changed(training=training), "my.toml")
    assert str(caught.value) == f"my.toml: {message}."


@pytest.mark.parametrize(
    ("training", "rate"),
    [
        ({}, 0.05),
        ({"optimizer": "muon"}, 0.05),
        ({"optimizer": "sgd"}, 0.1),
        ({"optimizer": "adamw"}, 0.002),
        ({"optimizer": "adamw", "learning_rate": 0.1}, 0.1),
    ],
)
def test_the_usual_learning_rate_is_that_of_the_optimizer(training: dict[str, Any], rate: float) -> None:
    made = parse_config(changed(training=training))
    assert made.training.learning_rate == rate
    assert parse_config(made.to_dict()) == made


def test_no_references_is_a_name_or_an_empty_list() -> None:
    nothing: tuple[Any, ...] = ("none", [])
    for names in nothing:
        assert parse_config(changed(references={"names": names})).references.names == ()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            {"names": ["resnet", "vgg"]},
            r"references\.names\.1: .*'mobilenetv2', 'like-teacher' or 'no-teacher', but got 'vgg'",
        ),
        ({"names": ["resnet", "resnet"]}, "references.names: must be different, but 'resnet' comes"),
        ({"final": -1}, 'references.final: must be a number from 0, "all" or a list of names, but got -1'),
        ({"final": "best"}, "references.final: must be a number from 0, \"all\" or a list of names, but got 'best'"),
        (
            {"names": ["resnet", "no-teacher"], "final": ["mobilenetv2"]},
            r"references\.final: must be a list of names among resnet, no-teacher, but got 'mobilenetv2'\.$",
        ),
        ({"names": "none", "final": ["vgg"]}, "references.final: must be a list of names among resnet, .* got 'vgg'"),
        ({"final": ["resnet", "resnet"]}, "references.final: must be different, but 'resnet' comes"),
        ({"final": [["resnet"]]}, r"references\.final: must be a list of names among resnet, .* got \['resnet'\]"),
    ],
)
def test_references_that_make_no_sense_are_refused(section: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_config(changed(references=section))


def test_references_for_full_length_trainings_may_be_named() -> None:
    config = parse_config(changed(references={"final": ["resnet"]}))
    assert config.references.final == ("resnet",)
    assert parse_config(config.to_dict()) == config
    none = parse_config(changed(references={"names": "none", "final": ["resnet"]}))  # as a recipe's without references
    assert none.references.names == ()


def test_one_space_is_recorded_alike_however_it_is_given() -> None:
    configs = [parse_config(changed(space=space)) for space in ({"name": "blocks"}, {"names": ["blocks"]})]
    assert configs[0] == configs[1]
    assert configs[0].to_dict()["space"] == {"name": "blocks", "ranges": {}, "tilt": "full", "stem": "auto"}
    assert parse_config(changed()).to_dict()["space"] == {
        "names": ["nago", "blocks", "like-teacher"],
        "ranges": {},
        "tilt": "full",
        "stem": "auto",
    }


def test_several_spaces_come_back_from_plain_values_with_nested_ranges() -> None:
    space = {"names": ["nago", "blocks"], "ranges": {"nago": {"top_nodes": [3, 4]}, "blocks.head_ratio": 0}}
    config = parse_config(changed(space=space))
    assert config.space.listed == ("nago", "blocks")
    assert config.space.ranges == {"nago.top_nodes": [3, 4], "blocks.head_ratio": 0}
    assert parse_config(config.to_dict()) == config


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"name": "nago", "names": ["nago", "blocks"]}, "space: name and names exclude each other"),
        ({"name": "nago", "names": ["blocks"]}, "space: name and names exclude each other"),
        ({"names": ["nago", "nago"]}, "space.names: must be different, but 'nago' comes more than once"),
        ({"names": []}, "space.names: list should have at least 1 item"),
        ({"names": "nago"}, "space.names: input should be a valid list"),
    ],
)
def test_the_space_is_one_or_several_different_ones(space: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_config(changed(space=space))


@pytest.mark.parametrize("channels", [[], [0, 0], [-1], [True]])
def test_channels_are_different_indices(channels: list[int]) -> None:
    values = {"name": "a", "data": {"source": "digits", "student_channels": channels}, "budget": {"params": 1}}
    with pytest.raises(InputError, match=r"data.student_channels"):
        parse_config(values | {"teacher": {"factory": "m:f"}})


@pytest.mark.parametrize(("share", "rounds"), [(0.01, 1), (0.2, 1), (0.36, 2), (0.59, 4), (0.79, 7), (0.999, 30)])
def test_a_share_is_pruned_in_the_number_of_rounds_that_comes_nearest(share: float, rounds: int) -> None:
    assert pruning_rounds(share) == rounds
    others = [n for n in range(1, 31) if abs(share - (1 - 0.8**n)) < abs(share - (1 - 0.8**rounds)) - 1e-12]
    assert others == []


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ({"pruning": {"shares": []}}, "teacher.pruning.shares"),
        ({"pruning": {"shares": [0.0]}}, "teacher.pruning.shares"),
        ({"pruning": {"shares": [1.0]}}, "teacher.pruning.shares"),
        ({"pruning": {"shares": [0.35, 0.36]}}, "0.35 and 0.36 are both nearest to 2 rounds"),
        ({"pruning": {"shares": [0.36], "epochs": 0}}, "teacher.pruning.epochs"),
        ({"pruning": {"share": [0.36]}}, "shares"),
        ({"factory": None, "onnx": "a.onnx", "pruning": {"shares": [0.36]}}, "pruning is for the module of a factory"),
        ({"factory": None, "pruning": {"shares": [0.36]}}, "pruning is for the module of a factory"),
    ],
)
def test_pruning_that_makes_no_sense_is_one_line(teacher: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_config(changed(teacher={"factory": "a:b"} | teacher))
    assert "\n" not in str(caught.value)


def test_pruned_teachers_are_choices_beside_files_and_checkpoints() -> None:
    teacher = TeacherConfig(
        factory="a:b", weights="w.pth", checkpoints=("1.pth", "2.pth"), pruning=PruningConfig(shares=(0.36, 0.79))
    )
    expected = {"w.pth": (0,), "checkpoints": (1, 2), "pruned-36": (3,), "pruned-79": (4,)}
    assert teacher.teacher_schedules == expected
    assert teacher.numbered(0).pruning is None


def test_splits_on_the_hub_must_not_be_the_same_samples() -> None:
    data = {"source": "hf:user/name", "splits": {"train": "all", "validation": "dev", "test": "all"}}
    with pytest.raises(InputError, match=r"data.splits.*must be different, but 'all' comes more than once"):
        parse_config(changed(data=data))
    assert recorded_config(changed(data=data), "first").data.splits is not None  # by an earlier version
