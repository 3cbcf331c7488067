"""The command `push`: a folder that a hub takes, whose card says what the rows say, and whose program runs."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hub_models import package, put_in_cache
from hub_server import HubServer
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def pushed(invoke, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `push` writes for the repository `me/digits`; not to be changed."""
    folder = tmp_path_factory.mktemp("pushed") / "digits"
    words = ("me/digits", "--folder", folder, "--licence", "apache-2.0", "--home", finished)
    outcome = invoke("push", "digits", *words)
    assert (outcome.code, outcome.err) == (0, "")
    assert "not uploaded: read README.md and manifest.json, then add --upload" in outcome.out
    return folder


@pytest.mark.slow  # an export, which is loaded in a fresh interpreter
def test_what_is_fetched_from_the_hub_can_be_verified(invoke, pushed: Path, tmp_path: Path) -> None:
    fetched = Path(shutil.copytree(pushed, tmp_path / "fetched"))
    (fetched / ".gitattributes").touch()
    (fetched / ".cache" / "huggingface").mkdir(parents=True)
    outcome = invoke("verify", fetched, "--data", "digits")
    assert outcome.code == 0, outcome.err
    (fetched / "README.md").write_text("mine")
    assert "README.md was changed since the export" in invoke("verify", fetched).err


def test_the_hub_reads_from_the_card_what_the_rows_say(pushed: Path, invoke, finished: Path) -> None:
    card = package("huggingface_hub").ModelCard.load(pushed / "README.md")
    best = json.loads(invoke("best", "digits", "--home", finished, "-o", "json").out)
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value) == ("accuracy", best["metrics"]["test_accuracy"])
    assert (result.dataset_name, result.dataset_split, result.task_type) == ("digits", "test", "image-classification")
    assert (card.data.license, card.data.pipeline_tag) == ("apache-2.0", "image-classification")


def test_every_figure_of_the_card_is_measured(pushed: Path) -> None:
    text, manifest = (pushed / "README.md").read_text(), json.loads((pushed / "manifest.json").read_text())
    figures = [manifest["cost"]["params"], manifest["cost"]["macs"], manifest["teacher"]["params"]]
    accuracies = [manifest["metrics"]["test_accuracy"], manifest["teacher"]["test_metrics"]["accuracy"]]
    assert "not measured |" not in text
    for figure in [f"{number:,}" for number in figures] + [f"{100 * share:.2f} %" for share in accuracies]:
        assert f" {figure} " in text
    for settings in (manifest["family"], manifest["distillation"]):
        assert all(f"`{name} = {value}`" in text for name, value in settings.items())


@pytest.mark.slow  # a fresh interpreter that imports torch
def test_the_program_of_the_card_names_the_classes_of_the_probe(pushed: Path, tmp_path: Path) -> None:
    package("huggingface_hub")
    put_in_cache(tmp_path, "me/digits", pushed)
    (program,) = re.findall(r"^```python\n(.*?)^```", (pushed / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    expected = [str(label) for label in load_file(pushed / "probe.safetensors")["logits"].argmax(1).tolist()]
    assert done.stdout == f"{expected}\n", done.stderr


@pytest.mark.slow  # an export, which is loaded in a fresh interpreter
def test_upload_is_on_request(invoke, finished: Path, hub: HubServer, tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    words = ("--folder", folder, "--upload", "--private", "--home", finished, "-o", "json")
    outcome = invoke("push", "digits", "me/digits", *words)
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["uploaded"] == f"{hub.address}/me/digits"
    assert hub.created == [{"name": "digits", "organization": "me", "visibility": "private"}]
    assert hub.files == {file.name: file.read_bytes() for file in folder.iterdir()}


def test_other_names_are_refused_before_anything_is_written(invoke, finished: Path) -> None:
    outcome = invoke("push", "digits", "../digits", "--home", finished)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "autokd: a repository must be `user/name`, but got '../digits'.\n"
