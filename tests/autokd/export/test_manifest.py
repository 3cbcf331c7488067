import json
import os
from pathlib import Path
from typing import Any

import pytest

from autokd.errors import InputError
from autokd.export.manifest import FILES, read_manifest

DIGESTS = dict.fromkeys(FILES, "0" * 64)
GOOD: dict[str, Any] = {"format": 1, "files": DIGESTS, "metrics": {"accuracy": 0.5}}


def write(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)


def test_a_manifest_keeps_what_it_does_not_know(tmp_path: Path) -> None:
    write(tmp_path, json.dumps(GOOD | {"licence": "Apache-2.0", "metrics": {"accuracy": 1, "test_accuracy": 0.25}}))
    manifest = read_manifest(tmp_path)
    assert manifest.test_accuracy == 0.25
    assert manifest.model_extra == {"licence": "Apache-2.0"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": {}}, "files: must name model.py, .*, but lacks model.py"),
        ({"files": {name: DIGESTS[name] for name in FILES[1:]}}, "files: must name .* but lacks model.py"),
        ({"files": DIGESTS | {"../secret": "0" * 64}}, r"must be the plain name of a file in the folder.*secret"),
        ({"files": DIGESTS | {"/etc/passwd": "0" * 64}}, r"must be the plain name of a file in the folder.*passwd"),
        ({"files": DIGESTS | {"manifest.json": "0" * 64}}, r"must be the plain name of a file in the folder"),
        ({"files": DIGESTS | {"x" * 300: "0" * 64}}, r"must be the plain name of a file in the folder"),
        ({"files": DIGESTS | {"model.py": "5"}}, r"files.model.py: string should match pattern"),
        ({"files": DIGESTS | {"model.py": 5}}, r"files.model.py: input should be a valid string"),
        ({"files": ["model.py"]}, "files: input should be a valid dictionary"),
        ({"metrics": 3}, "metrics: input should be a valid dictionary"),
        ({"metrics": {"test_accuracy": "0.9"}}, "metrics.test_accuracy: input should be a valid number"),
        ({"metrics": {"test_accuracy": 93.75}}, "metrics: test_accuracy must be between 0 and 1, but got 93.75"),
        ({"search": 5}, "search: input should be a valid string"),
        ({"format": [[1]]}, r"its format is \[\[1\]\], but this version reads 1"),
    ],
)
def test_what_a_manifest_says_wrongly_is_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write(tmp_path, json.dumps(GOOD | changes))
    with pytest.raises(InputError, match=message) as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize(
    "text", ["", "[1]", "5", "[" * 100_000, '{"format": ' + "1" * 5_000 + "}", "\udc80", '{"a": 1}']
)
def test_what_is_no_manifest_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match="is not an exported folder"):
        read_manifest(tmp_path)


def test_a_manifest_of_any_size_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "manifest.json").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(InputError, match=r"larger than .* bytes"):
        read_manifest(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(InputError, match=r"has no readable manifest.json"):
        read_manifest(tmp_path)


def test_a_folder_with_a_name_of_300_letters_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no readable manifest.json"):
        read_manifest(tmp_path / ("x" * 300))
