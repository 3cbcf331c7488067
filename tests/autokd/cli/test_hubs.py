"""Teachers and data by their names in searches that are written as a user writes them."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hub_models import as_tables, package, save_classifier, save_timm

from autokd.data.sources.digits import digits
from autokd.recipes.catalogue import recipe_path


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
    repository = tmp_path / "cache" / "models--me--digits"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    (repository / "snapshots").mkdir()
    (repository / "snapshots" / ("a" * 40)).symlink_to(tmp_path / "timm")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.slow  # a whole search
@pytest.mark.parametrize(
    ("teacher", "own"),
    [
        (
            ['factory = "transformers:classifier"'],
            'output = "logits", mean = [0.5], deviation = [0.2], resize = [16, 16]',
        ),
        (['factory = "timm:timm"'], "resize = [32, 32], mean = [0.5], deviation = [0.2]"),
        (
            [
                'factory = "timm:test_resnet"',
                "arguments = { num_classes = 10, in_chans = 1 }",
                'weights = "hf:me/digits"',
                "resize = 32",
            ],
            "mean = [0.5], deviation = [0.5]",
        ),
    ],
    ids=["transformers", "timm", "weights on the hub"],
)
def test_a_teacher_is_some_lines(invoke, tiny: tuple[str, ...], models: Path, teacher: list[str], own: str) -> None:
    lines = ["[data]", 'source = "digits"', "[teacher]", *teacher, "floor = 0.0", "[budget]", "params = 3000"]
    (models / "search.toml").write_text("\n".join(lines))
    short = ("--set", "trials=1", "--set", "data.subset=60")
    outcome = invoke("search", models / "search.toml", *tiny, *short, "--home", models / "home", "-o", "json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["params"] <= 3000
    assert f"teacher: {own}, by the configuration of" in outcome.err


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


@pytest.mark.slow  # a whole search
def test_data_are_a_line(invoke, tiny: tuple[str, ...], tmp_path: Path) -> None:
    as_tables(digits()).save_to_disk(tmp_path / "saved")
    recipe = recipe_path("digits").read_text()
    (tmp_path / "search.toml").write_text(recipe.replace('"digits"', '"hf:saved"', 1))
    short = ("--set", "trials=1", "--set", "data.subset=60")
    outcome = invoke("search", tmp_path / "search.toml", *tiny, *short, "--home", tmp_path / "home", "-o", "json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["teacher_metrics"]["accuracy"] > 0.97


@pytest.mark.slow  # trains a teacher
def test_a_model_by_name_is_trained_with_its_own_settings(invoke, models: Path) -> None:
    lines = ("[data]", 'source = "digits"', "[teacher]", 'factory = "timm:test_resnet"', "resize = 16")
    arguments = "arguments = { num_classes = 10, in_chans = 1 }"
    (models / "search.toml").write_text("\n".join([*lines, arguments, "[budget]", "params = 3000"]))
    short = (
        "--epochs",
        2,
        "--set",
        "data.subset=300",
        "--set",
        "training.precision=float32",
        "--set",
        "workers.count=1",
    )
    outcome = invoke("teach", models / "search.toml", models / "teachers", *short)
    assert outcome.code == 0, outcome.err
    trained = ("--set", f"teacher.weights={models}/teachers/teacher-2.safetensors", "--set", "teacher.floor=0.99")
    refused = invoke("search", models / "search.toml", *trained, "--home", models / "home", "-o", "json")
    accuracy = json.loads((models / "teachers" / "teacher-2.json").read_text())["validation"]["accuracy"]
    assert f"the teacher's validation accuracy is {accuracy:.2%}, below teacher.floor = 99.00%" in refused.err
