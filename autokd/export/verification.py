"""The check that an exported folder is complete and its student computes what it did at the export.

The check runs the folder's `model.py`, in a fresh interpreter and with a time limit, but with all rights of the user.
Do not verify a folder whose code you would not run. The check finds damaged or changed files and wrong results; it
cannot tell who wrote the folder.
"""

import hashlib
import json
import os
import reprlib
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from autokd.config.data import DataConfig
from autokd.data.channels import of_split
from autokd.data.dataset import Split
from autokd.data.registry import load_data
from autokd.errors import AutoKDError, InputError
from autokd.export import check
from autokd.export.manifest import MANIFEST, Manifest, read_manifest
from autokd.export.preprocess import samples_name

__all__ = [
    "Verification",
    "channels_first",
    "check_files",
    "check_names",
    "examine",
    "file_digest",
    "samples_to_verify",
    "verify_folder",
]

START_SECONDS = 300.0  # for importing torch on a busy machine and computing the probe; an idle one needs 2
SAMPLE_SECONDS = 0.1  # for each test sample
FETCHED = {".gitattributes", ".cache"}  # what `hf download --local-dir` puts beside the files of a repository


@dataclass(frozen=True)
class Verification:
    """Result of checking an exported folder.

    Attributes:
        max_difference: Largest absolute difference between a logit of the probe and the recorded one.
        test_accuracy: Test accuracy; None if the student was never tested.
        is_tested: Whether `test_accuracy` was measured by this check; otherwise it is the recorded one.
        undecided: Test samples whose two largest logits are so close that rounding may exchange them.
    """

    max_difference: float
    test_accuracy: float | None
    is_tested: bool
    undecided: int = 0


def verify_folder(folder: Path, test: Split | None = None, seconds: float | None = None) -> Verification:
    """Check that a folder holds the files of its manifest and that its student computes what it did at the export.

    This runs the folder's `model.py`. The folder may be one that was fetched from a hub.

    Args:
        folder: An exported folder.
        test: Test samples, for which the accuracy must equal the recorded one but for samples that rounding may
            decide; the student gets the channels that the manifest names.
        seconds: Time limit for the folder's code; by default 5 minutes plus 0.1 seconds for each test sample.

    Raises:
        InputError: If a file is missing or was changed, or there are further files.
        AutoKDError: If the student computes something else, or exceeds the time limit.
    """
    manifest = read_manifest(folder)
    check_files(folder, manifest, FETCHED)
    found = examine(folder, None if test is None else of_split(test, _channels(manifest, test)), seconds)
    recorded = manifest.test_accuracy
    if test is None or found.test_accuracy is None:
        return Verification(found.max_difference, recorded, False)
    if recorded is not None and round(abs(found.test_accuracy - recorded) * len(test)) > found.undecided:
        raise AutoKDError(
            f"{folder}: test accuracy is {found.test_accuracy:.4%} here, but was {recorded:.4%} at the export."
        )
    return found


def samples_to_verify(folder: Path, source: str) -> Split:
    """The test split of a data source; images of a file each are resized as they were for the exported student.

    Args:
        folder: An exported folder.
        source: As `data.source`.

    Raises:
        InputError: If there are no such data, or they differ in kind, size or number of channels from what the student
            takes.
    """
    taken = read_manifest(folder).input or {}
    shape = taken.get("shape")
    wanted = shape[1:] if isinstance(shape, list) and len(shape) == 3 else None  # of images alone
    size = wanted[0] if wanted is not None and wanted[0] == wanted[1] else None
    test = load_data(DataConfig(source=source, image_size=size)).test
    if not isinstance(shape, list):
        return test
    if len(shape) != test.images.ndim - 1:
        raise InputError(
            f"the student takes samples of {len(shape)} axes, but those of {source} have {test.images.ndim - 1}."
        )
    found = list(test.images.shape[1:-1])
    if wanted is not None and found != wanted:
        raise InputError(f"the student takes images of {_by(wanted)} pixels, but those of {source} have {_by(found)}.")
    n_channels = test.images.shape[-1]
    if taken.get("channels") is None and shape[0] != n_channels:
        each = "features" if test.kind == "vectors" else "channels"
        raise InputError(
            f"the student takes {test.kind} of {shape[0]} {each}, but those of {source} have {n_channels}."
        )
    return test


def _by(sizes: Sequence[object]) -> str:
    return " x ".join(map(str, sizes))


def _channels(manifest: Manifest, test: Split) -> list[int] | None:
    """Channels that the student gets, if not all."""
    channels, n = (manifest.input or {}).get("channels"), test.images.shape[-1]
    if channels is None:
        return None
    if not isinstance(channels, list) or any(type(each) is not int or not 0 <= each < n for each in channels):
        raise InputError(f"the student takes the channels {reprlib.repr(channels)}, but the samples have 0..{n - 1}.")
    return channels


def check_files(folder: Path, manifest: Manifest, ignored: Collection[str] = ()) -> None:
    """Check that a folder holds exactly the files that its manifest names, unchanged.

    Args:
        folder: An exported folder.
        manifest: Its manifest.
        ignored: Names that may stand beside them.

    Raises:
        InputError: If a file is missing or was changed, or there are further files.
    """
    check_names(folder, manifest, ignored)
    for name, digest in manifest.files.items():
        path = folder / name
        try:
            found = file_digest(path)
        except FileNotFoundError:
            raise InputError(f"{folder} is incomplete: {name} is missing.") from None
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}.") from None
        if found != digest:
            raise InputError(f"{path} was changed since the export: its SHA-256 is not the manifest's.")


def check_names(folder: Path, manifest: Manifest, ignored: Collection[str] = ()) -> None:
    """Check that a folder holds nothing but regular files that its manifest names.

    The bytecode that Python caches when `model.py` is imported is allowed; the check never runs it.

    Args:
        folder: An exported folder.
        manifest: Its manifest.
        ignored: Names that may stand beside them.

    Raises:
        InputError: If there is anything else.
    """
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}.") from None
    known = {*manifest.files, MANIFEST}
    files = {entry.name for entry in entries if entry.is_file(follow_symlinks=False) and entry.name in known}
    foreign = {entry.name for entry in entries if not _is_bytecode(entry)} - files - set(ignored)
    if foreign:
        names = ", ".join(reprlib.repr(name)[1:-1] for name in sorted(foreign)[:3])
        raise InputError(
            f"{folder} holds more than an export ({names}): choose another folder, or move that elsewhere."
        )


def examine(folder: Path, test: Split | None, seconds: float | None = None) -> Verification:
    """Load the student in a fresh interpreter and compute the logits of the probe and of test samples.

    Args:
        folder: An exported folder, whose code is run.
        test: Samples for the test accuracy, if it is to be measured.
        seconds: Time limit; see `verify_folder`.

    Raises:
        AutoKDError: If the student cannot be loaded, computes something else, or exceeds the time limit.
    """
    if seconds is None:
        seconds = START_SECONDS + SAMPLE_SECONDS * (0 if test is None else len(test))
    found = _ask_fresh_interpreter(folder, test, seconds)
    if "error" in found:
        raise AutoKDError(f"{folder}: the exported model does not load: {found['error']}.")
    allowed = check.ROUNDING * max(1.0, found["largest"])
    if not found["max_difference"] <= allowed:
        raise AutoKDError(
            f"{folder}: the reloaded student's logits differ by {found['max_difference']:.2g} from the trained one's; "
            f"at most {allowed:.2g} is allowed."
        )
    accuracy = found["correct"] / found["samples"] if "samples" in found else None
    return Verification(found["max_difference"], accuracy, test is not None, found.get("undecided", 0))


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def channels_first(split: Split) -> Tensor:
    """Samples as inputs of `preprocess`."""
    return split.images.movedim(-1, 1).contiguous()


def _is_bytecode(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is Python's cache of bytecode, with nothing else in it."""
    if entry.name != "__pycache__" or not entry.is_dir(follow_symlinks=False):
        return False
    with os.scandir(entry) as cached:
        return all(file.is_file(follow_symlinks=False) and file.name.endswith(".pyc") for file in cached)


def _ask_fresh_interpreter(folder: Path, test: Split | None, seconds: float) -> dict[str, Any]:
    """Answer of `check.py`, which has a nonce that the folder's code cannot know in advance."""
    nonce = secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as scratch:
        answer, labelled = Path(scratch) / "answer.json", Path(scratch) / "test.safetensors"
        command = [sys.executable, "-P", "-B", str(check.__file__), str(folder.resolve()), str(answer)]
        if test is not None:
            save_file({samples_name(test.kind): channels_first(test), "labels": test.labels.contiguous()}, labelled)
            command.append(str(labelled))
        code = _run(command, nonce, scratch, seconds)
        if code is None:
            raise AutoKDError(
                f"{folder}: the exported model gave no answer within {seconds:g} seconds: it was stopped."
            )
        found = _read_answer(answer)
    if found.get("nonce") != nonce:
        raise AutoKDError(f"{folder}: the exported model ended without an answer (exit code {code}).")
    return found


def _run(command: list[str], nonce: str, scratch: str, seconds: float) -> int | None:
    """Exit code of a command, all of whose processes are ended; None if it exceeded the time limit."""
    silent = subprocess.DEVNULL
    with subprocess.Popen(
        command, cwd=scratch, stdin=subprocess.PIPE, stdout=silent, stderr=silent, start_new_session=True
    ) as process:
        try:
            process.communicate(f"{nonce}\n".encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _kill(process)
    return process.returncode


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and, if the system has process groups, its descendants."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _read_answer(path: Path) -> dict[str, Any]:
    try:
        answer = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
