"""Packages that only some uses of AutoKD need, and the extra of `pip install` that brings each."""

from contextlib import AbstractContextManager

from autokd.errors import InputError
from search_spaces import errors

__all__ = ["EXTRAS", "needs"]

# Extra: the distribution without which nothing of it works. `pyproject.toml` lists the same extras.
EXTRAS = {
    "botorch": "botorch",
    "client": "httpx2",
    "dask": "distributed",
    "digits": "scikit-learn",
    "hubs": "huggingface_hub",
    "images": "pillow",
    "networkx": "networkx",
    "onnx": "onnxruntime",
    "plot": "matplotlib",
    "postgresql": "psycopg",
    "ray": "ray",
    "s3": "s3fs",
    "serve": "fastapi",
    "tracking": "tensorboard",
    "wandb": "wandb",
}


def needs(extra: str, user: str, package: str | None = None) -> AbstractContextManager[None]:
    """A block of imports whose failure names the extra to install.

    Args:
        extra: One of `EXTRAS`.
        user: What needs it, as the message's first words.
        package: The distribution that is imported, if the extra brings several.

    Raises:
        InputError: If an import in the block fails.
    """
    return errors.needs(user, package or EXTRAS[extra], extra, InputError)
