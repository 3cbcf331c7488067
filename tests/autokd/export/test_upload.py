from pathlib import Path

import pytest
from hub_server import HubServer

from autokd.errors import AutoKDError
from autokd.export.upload import upload


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "student"
    (folder / "__pycache__").mkdir(parents=True)
    for name in ("README.md", "model.py", "__pycache__/model.pyc"):
        (folder / name).write_text(name)
    return folder


def test_all_files_are_sent_to_a_new_repository(folder: Path, hub: HubServer) -> None:
    assert upload(folder, "me/digits", private=True) == f"{hub.address}/me/digits"
    assert hub.created == [{"name": "digits", "organization": "me", "visibility": "private"}]
    assert hub.files == {"README.md": b"README.md", "model.py": b"model.py"}


def test_what_the_hub_refuses_is_said_in_one_line(folder: Path, hub: HubServer) -> None:
    hub.status = 403
    with pytest.raises(
        AutoKDError, match=rf"^{folder} is written, but cannot be uploaded to me/digits: 403 .*\.$"
    ) as raised:
        upload(folder, "me/digits", private=False)
    assert "\n" not in str(raised.value)


def test_a_hub_that_is_not_reached_is_said_in_one_line(
    folder: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(AutoKDError, match=r"cannot be uploaded to me/digits: .*[Rr]efused\.$"):
        upload(folder, "me/digits", private=False)
