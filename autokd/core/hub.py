"""Files of the Hugging Face hub: those in this machine's cache, and others only where downloading is allowed."""

import os
from pathlib import Path
from typing import Literal

from autokd.core.extras import needs
from autokd.errors import InputError, first_line

__all__ = ["HUB", "hub_file", "hub_folder"]

HUB = "hf:"
"""Beginning of names that stand for something on the hub."""

SAFE_WEIGHTS = ".safetensors"
FETCHED = {
    "model": {"allow_patterns": ["*.json", f"*{SAFE_WEIGHTS}"]},
    "dataset": {"ignore_patterns": ["*.py", "*.pkl", "*.pickle", "*.pt", "*.pth", "*.bin"]},
}
"""What is fetched of a repository of each kind: no code, and no file in which code can hide."""


def hub_folder(name: str, key: str, download: bool | None, kind: Literal["model", "dataset"] = "model") -> Path:
    """A folder on this machine, or one with the files of a repository, without code and pickles.

    Args:
        name: A folder, "user/name", or "user/name@revision".
        key: Key of the configuration that has the name, for error messages.
        download: Whether files may be fetched; otherwise they must be in the cache.
        kind: What the repository holds.

    Raises:
        InputError: If there is no such folder or repository, or it is not in the cache and may not or cannot be
            fetched.
    """
    if os.path.isdir(name):
        return Path(name)
    return _snapshot(name, key, download, kind, **FETCHED[kind])


def hub_file(name: str, key: str, download: bool | None) -> Path:
    """One file of a model's repository.

    Args:
        name: "user/name" for its `model.safetensors`, or "user/name/FILE.safetensors"; a revision follows the name of
            the repository: "user/name@revision".
        key: See `hub_folder`.
        download: See `hub_folder`.

    Raises:
        InputError: See `hub_folder`; also if the file is no `.safetensors`.
    """
    user, _, rest = name.partition("/")
    repository, _, file = rest.partition("/")
    file = file or f"model{SAFE_WEIGHTS}"
    if not file.endswith(SAFE_WEIGHTS):
        raise InputError(f"{key}: only {SAFE_WEIGHTS} files are read from the hub, never pickles, but got {file!r}.")
    path = _snapshot(f"{user}/{repository}", key, download, "model", allow_patterns=[file]) / file
    if path.exists():
        return path
    if not download:
        raise _not_here(name, key)
    raise InputError(f"{key}: {user}/{repository} on the hub has no {file}, and pickles are never read.")


def _snapshot(name: str, key: str, download: bool | None, kind: str, **files: list[str]) -> Path:
    """Folder with those of a repository's files that `files` says, in the words of `snapshot_download`.

    `hf_hub_download` would ask the hub for a list of user agents even where all it needs is in the cache.
    """
    with needs("hubs", f"{key} {name!r}"):
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError
    repository, _, revision = name.partition("@")
    try:
        found = snapshot_download(
            repository, repo_type=kind, revision=revision or None, local_files_only=not download, **files
        )
    except LocalEntryNotFoundError as error:
        raise _not_fetched(name, key, error) if download else _not_here(name, key) from None
    except (HTTPError, OSError, ValueError) as error:  # a name that none can be is a ValueError
        raise _not_fetched(name, key, error) from None
    return Path(found)


def _not_here(name: str, key: str) -> InputError:
    section = key.partition(".")[0]
    return InputError(
        f"{key}: {name!r} is not on this machine: set {section}.download = true to fetch it from the hub."
    )


def _not_fetched(name: str, key: str, error: Exception) -> InputError:
    return InputError(f"{key}: {name!r} cannot be fetched from the hub: {first_line(error)}.")
