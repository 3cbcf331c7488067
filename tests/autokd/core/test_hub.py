"""The hub as this machine sees it: a cache laid out as huggingface_hub does, and no network."""

from pathlib import Path

import pytest
from hub_models import COMMIT, package, put_in_cache

from autokd.core.hub import hub_file, hub_folder
from autokd.errors import InputError

constants = package("huggingface_hub.constants")


@pytest.fixture(autouse=True)
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of the repository `me/mine` at its only commit, `main` and `v1`, in a cache; the hub is not reached."""
    (tmp_path / "mine" / "fp16").mkdir(parents=True)
    for file in ("config.json", "model.safetensors", "fp16/model.safetensors"):
        (tmp_path / "mine" / file).touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return put_in_cache(tmp_path, "me/mine", tmp_path / "mine", revisions=("main", "v1"))


@pytest.mark.parametrize("name", ["me/mine", "me/mine@v1", f"me/mine@{COMMIT}"])
def test_what_is_in_the_cache_needs_no_network(cached: Path, name: str) -> None:
    assert hub_folder(name, "teacher.factory", download=False) == cached
    assert hub_file(name, "teacher.weights", download=False) == cached / "model.safetensors"
    assert hub_file(f"{name}/fp16/model.safetensors", "teacher.weights", None) == cached / "fp16/model.safetensors"


def test_a_data_set_has_a_name_of_its_own(cached: Path, tmp_path: Path) -> None:
    cached.parents[1].rename(tmp_path / "datasets--me--mine")
    assert hub_folder("me/mine", "data.source", None, "dataset").is_relative_to(tmp_path / "datasets--me--mine")
    with pytest.raises(InputError, match=r"'me/mine' is not on this machine"):
        hub_folder("me/mine", "teacher.factory", None)


def test_a_folder_is_found_without_the_hub(tmp_path: Path) -> None:
    assert hub_folder(str(tmp_path), "data.source", None, "dataset") == tmp_path


@pytest.mark.parametrize("find", [hub_file, hub_folder])
@pytest.mark.parametrize("name", ["me/yours", "me/mine@v2"])
def test_what_is_not_is_fetched_on_request_only(find, name: str) -> None:
    expected = f"data.source: {name!r} is not on this machine: set data.download = true to fetch it from the hub."
    with pytest.raises(InputError) as raised:
        find(name, "data.source", False)
    assert str(raised.value) == expected
    with pytest.raises(InputError, match=rf"^data.source: {name!r} cannot be fetched from the hub: "):
        find(name, "data.source", True)


@pytest.mark.parametrize("name", ["", "mine", "me/", "me/mine..", "a/b/c.safetensors/d.safetensors"])
def test_other_names_are_refused_in_one_line(name: str) -> None:
    with pytest.raises(InputError, match=r"^teacher.weights: ['\w].*\.$") as raised:
        hub_file(name, "teacher.weights", False)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.pkl", "modeling.py"])
def test_pickles_and_code_are_never_read(file: str) -> None:
    expected = rf"only \.safetensors files are read from the hub, never pickles, but got '{file}'\.$"
    with pytest.raises(InputError, match=expected):
        hub_file(f"me/mine/{file}", "teacher.weights", download=True)
