"""Teachers and data by their names in searches that are written as a user writes them."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hub_models import as_tables, package, put_in_cache, save_classifier, save_timm

from autokd.data.sources.digits import digits

ARGUMENTS = "arguments = { num_classes = 10, in_chans = 1 }"
FLOAT32 = ("--set", "training.precision=float32")  # "auto" measures


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody is called during a test."""
    called: list[object] = []

    def refuse(*where: object, **_: object) -> NoReturn:
        called.append(where)
        raise OSError("there is no network in this test")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    yield
    assert called == []


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with models for the digits; that of timm is also in a cache of the hub, as repository `me/digits`."""
    constants = package("huggingface_hub.constants")
    save_classifier(tmp_path / "classifier", 1, 10, size={"height": 16, "width": 16}, image_mean=[0.5], image_std=[0.2])
    save_timm(tmp_path / "timm", 1, 10)
    put_in_cache(tmp_path / "cache", "me/digits", tmp_path / "timm")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path


def write(folder: Path, *teacher: str, source: str = "digits") -> Path:
    """Write a search with these lines for its teacher."""
    lines = ("[data]", f'source = "{source}"', "[teacher]", *teacher, "[budget]", "params = 3000")
    (folder / "search.toml").write_text("\n".join(lines))
    return folder / "search.toml"


@pytest.mark.parametrize(
    ("factory", "own"),
    [
        ("transformers:classifier", 'output = "logits", mean = [0.5], deviation = [0.2], resize = [16, 16]'),
        ("timm:timm", "resize = [32, 32], mean = [0.5], deviation = [0.2]"),
    ],
)
def test_a_teacher_in_a_folder_is_a_line(invoke, models: Path, factory: str, own: str) -> None:
    file = write(models, f'factory = "{factory}"', "floor = 0.99")
    outcome = invoke("search", file, "--set", "data.subset=60", *FLOAT32, "--home", models / "home", "-o", "json")
    assert outcome.code == 2
    assert f"teacher: {own}, by the configuration of" in outcome.err
    assert "below teacher.floor = 99.00%" in outcome.err


@pytest.mark.slow  # a whole search
def test_a_classifier_and_data_that_were_saved_are_a_line_each(invoke, tiny: tuple[str, ...], models: Path) -> None:
    as_tables(digits()).save_to_disk(models / "saved")
    short = ("--set", "trials=1", "--set", "data.subset=60")
    file = write(models, 'factory = "transformers:classifier"', "floor = 0.0", source="hf:saved")
    outcome = invoke("search", file, *tiny, *short, "--home", models / "home", "-o", "json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["params"] <= 3000
    assert "resize = [16, 16], by the configuration of" in outcome.err


@pytest.mark.slow  # a whole search
def test_data_and_weights_are_a_line_each(invoke, tiny: tuple[str, ...], models: Path) -> None:
    as_tables(digits()).save_to_disk(models / "saved")
    teacher = ('factory = "timm:test_resnet"', ARGUMENTS, 'weights = "hf:me/digits"', "resize = 32", "floor = 0.0")
    short = ("--set", "trials=1", "--set", "data.subset=60")
    file = write(models, *teacher, source="hf:saved")
    outcome = invoke("search", file, *tiny, *short, "--home", models / "home", "-o", "json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["params"] <= 3000
    assert "teacher: mean = [0.5], deviation = [0.5], by the configuration of timm:test_resnet" in outcome.err


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("timm:resnet81", "timm has no such model; the nearest known is"),
        ("transformers:me/nothing", "is not on this machine: set teacher.download = true to fetch it from the hub."),
        ("transformers:", "'' cannot be fetched from the hub"),
    ],
)
def test_a_name_that_is_not_there_is_one_line(invoke, models: Path, factory: str, message: str) -> None:
    setting = ("--set", f"teacher.factory={factory}", "--home", models / "home")
    outcome = invoke("search", "digits", *setting)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert message in outcome.err


@pytest.mark.slow  # trains a teacher
def test_a_model_by_name_is_trained_with_its_own_settings(invoke, models: Path) -> None:
    file = write(models, 'factory = "timm:test_resnet"', "resize = 16", ARGUMENTS)
    short = ("--epochs", 2, "--set", "data.subset=300", "--set", "workers.count=1", *FLOAT32)
    outcome = invoke("teach", file, models / "teachers", *short)
    assert outcome.code == 0, outcome.err
    trained = ("--set", f"teacher.weights={models}/teachers/teacher-2.safetensors", "--set", "teacher.floor=0.99")
    refused = invoke("search", file, *trained, *FLOAT32, "--home", models / "home", "-o", "json")
    accuracy = json.loads((models / "teachers" / "teacher-2.json").read_text())["validation"]["accuracy"]
    assert f"the teacher's validation accuracy is {accuracy:.2%}, below teacher.floor = 99.00%" in refused.err
