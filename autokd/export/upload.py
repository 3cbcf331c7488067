"""An exported folder as a repository on the Hugging Face hub."""

from pathlib import Path

from autokd.core.extras import needs
from autokd.errors import AutoKDError, first_line

__all__ = ["check_upload", "upload"]


def check_upload() -> None:
    """Check that a folder could be uploaded, before it is made.

    Raises:
        InputError: If `huggingface_hub` is not installed.
    """
    with needs("hubs", "uploading"):
        import huggingface_hub  # noqa: F401


def upload(folder: Path, repository: str, private: bool) -> str:
    """Upload a folder as one commit, and return the address of the repository.

    Whose repositories may be written follows from the login of `hf auth login`.

    Args:
        folder: An exported folder with a model card.
        repository: Name of the repository, "user/name"; it is created if there is none.
        private: Whether a new repository is private.

    Raises:
        AutoKDError: If the hub cannot be reached, or refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError

    hub = HfApi()
    try:
        address = hub.create_repo(repository, private=private, exist_ok=True)
        hub.upload_folder(
            repo_id=repository, folder_path=folder, ignore_patterns="__pycache__/*", commit_message="Export by AutoKD"
        )
    except (HTTPError, OSError, ValueError) as error:
        raise AutoKDError(
            f"{folder} is written, but cannot be uploaded to {repository}: {first_line(error)}."
        ) from error
    return str(address)
