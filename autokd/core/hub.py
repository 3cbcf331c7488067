"""Files of the Hugging Face hub: those in this machine's cache, and others only where downloading is allowed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

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
    """Folder with the files of a repository, without code and pickles.

    Args:
        name: "user/name", or "user/name@revision".
        key: Key of the configuration that names the repository, for error messages.
        download: Whether files may be fetched; otherwise they must be in the cache.
        kind: What the repository holds.

    Raises:
        InputError: If there is no such repository, or it is not in the cache and may not or cannot be fetched.
    """
    repository, _, revision = name.partition("@")

    def fetch(hub: Any) -> str:
        return hub.snapshot_download(  # type: ignore[no-any-return]
            repository,
            repo_type=kind,
            revision=revision or None,
            local_files_only=not download,
            **FETCHED[kind],
        )

    return _found(fetch, name, key, download)


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
    repository, _, revision = repository.partition("@")
    if file and not file.endswith(SAFE_WEIGHTS):
        raise InputError(f"{key}: only {SAFE_WEIGHTS} files are read from the hub, never pickles, but got {file!r}.")

    def fetch(hub: Any) -> str:
        return hub.hf_hub_download(  # type: ignore[no-any-return]
            f"{user}/{repository}",
            file or f"model{SAFE_WEIGHTS}",
            revision=revision or None,
            local_files_only=not download,
        )

    return _found(fetch, name, key, download)


def _found(fetch: Callable[[Any], str], name: str, key: str, download: bool | None) -> Path:
    with needs("hubs", f"{key} {name!r}"):
        import huggingface_hub
        from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError
    try:
        return Path(fetch(huggingface_hub))
    except LocalEntryNotFoundError as error:
        if download:
            raise InputError(f"{key}: {name!r} cannot be fetched from the hub: {first_line(error)}.") from None
        raise InputError(
            f"{key}: {name!r} is not on this machine: set {key.partition('.')[0]}.download = true to fetch it from the "
            "hub."
        ) from None
    except (HTTPError, OSError, ValueError) as error:  # a name that none can be is a ValueError
        raise InputError(f"{key}: {name!r} cannot be fetched from the hub: {first_line(error)}.") from None
