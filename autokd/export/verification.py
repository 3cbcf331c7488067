"""The check that an exported folder is complete and computes what the student did when it was exported.

Verifying runs the `model.py` of the folder, in a fresh interpreter and under a time limit, but with all rights of the
user who verifies: a folder whose code one does not want to run is not to be verified. The check finds mistakes and
changed files; it does not tell who wrote a folder.
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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from autokd.data.dataset import Split
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
    "verify_folder",
]

TOLERANCE = 1e-3  # of logits, or of the largest one: between machines' float32 rounding; a wrong weight is far above it
START_SECONDS = 300.0  # to import torch on a busy machine and compute the probe: it takes 2 on an idle one
SAMPLE_SECONDS = 0.1  # for each test sample


@dataclass(frozen=True)
class Verification:
    """What a fresh interpreter found in an exported folder.

    Attributes:
        max_difference: Largest difference of a logit of the probe from the recorded one.
        test_accuracy: Share of the test samples that the student gets right, if it was ever tested.
        is_tested: Whether `test_accuracy` was measured now; else it is the recorded one.
    """

    max_difference: float
    test_accuracy: float | None
    is_tested: bool


def verify_folder(folder: Path, test: Split | None = None, seconds: float | None = None) -> Verification:
    """Check that the folder holds the files of its manifest, and that its student computes what it did at the export.

    The folder's `model.py` is run.

    Args:
        folder: An exported folder.
        test: Test samples, whose accuracy must be the manifest's.
        seconds: Time limit for the folder's code; by default 5 minutes, and more for many test samples.

    Raises:
        InputError: If the folder is incomplete, holds other files, or a file was changed.
        AutoKDError: If the student computes something else, or does not answer within the time limit.
    """
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    found = examine(folder, test, seconds)
    recorded = manifest.test_accuracy
    if not found.is_tested:
        return Verification(found.max_difference, recorded, False)
    if recorded is not None and found.test_accuracy != recorded:
        raise AutoKDError(
            f"{folder}: test accuracy is {found.test_accuracy:.4%} here, but was {recorded:.4%} at the export."
        )
    return found


def check_files(folder: Path, manifest: Manifest) -> None:
    """Check that the folder holds exactly the files that its manifest names, unchanged.

    Raises:
        InputError: If one is missing or was changed, or there are others.
    """
    check_names(folder, manifest)
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


def check_names(folder: Path, manifest: Manifest) -> None:
    """Check that the folder holds nothing but regular files that its manifest names.

    The bytecode that Python leaves when `model.py` is imported may be there; it is never run here.

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
    foreign = {entry.name for entry in entries if not _is_bytecode(entry)} - files
    if foreign:
        names = ", ".join(reprlib.repr(name)[1:-1] for name in sorted(foreign)[:3])
        raise InputError(
            f"{folder} holds more than an export ({names}): choose another folder, or move that elsewhere."
        )


def examine(folder: Path, test: Split | None, seconds: float | None = None) -> Verification:
    """Let a fresh interpreter load the student and compute the probe and the test samples.

    Args:
        folder: An exported folder, whose code is run.
        test: Samples whose accuracy is measured.
        seconds: Time limit.

    Raises:
        AutoKDError: If the student does not load, computes something else, or takes too long.
    """
    if seconds is None:
        seconds = START_SECONDS + SAMPLE_SECONDS * (0 if test is None else len(test))
    found = _ask_fresh_interpreter(folder, test, seconds)
    if "error" in found:
        raise AutoKDError(f"{folder}: the exported model does not load: {found['error']}.")
    allowed = TOLERANCE * max(1.0, found["largest"])
    if not found["max_difference"] <= allowed:
        raise AutoKDError(
            f"{folder}: the reloaded student's logits differ by {found['max_difference']:.2g} from the trained one's; "
            f"at most {allowed:.2g} is allowed."
        )
    accuracy = found["correct"] / found["samples"] if "samples" in found else None
    return Verification(found["max_difference"], accuracy, test is not None)


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def channels_first(split: Split) -> Tensor:
    """The samples as `preprocess` takes them."""
    return split.images.movedim(-1, 1).contiguous()


def _is_bytecode(entry: os.DirEntry[str]) -> bool:
    """Whether this is Python's cache, with nothing else in it."""
    if entry.name != "__pycache__" or not entry.is_dir(follow_symlinks=False):
        return False
    with os.scandir(entry) as cached:
        return all(file.is_file(follow_symlinks=False) and file.name.endswith(".pyc") for file in cached)


def _ask_fresh_interpreter(folder: Path, test: Split | None, seconds: float) -> dict[str, Any]:
    """The answer of `check.py`: it bears a nonce, so that nothing the folder's code wrote or printed passes for it."""
    nonce = secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as scratch:
        answer, labelled = Path(scratch) / "answer.json", Path(scratch) / "test.safetensors"
        command = [sys.executable, "-I", "-B", str(check.__file__), str(folder.resolve()), str(answer)]
        if test is not None:
            save_file({samples_name(test): channels_first(test), "labels": test.labels.contiguous()}, labelled)
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
    """The exit code; None if the time was over. No process that the command started outlives it."""
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
    """End a process and, where the system knows sessions, all that it started."""
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
