"""Packages that only some uses of AutoKD need, and the extra of `pip install` that brings each."""

from collections.abc import Iterator
from contextlib import contextmanager

from autokd.errors import InputError

__all__ = ["EXTRAS", "needs"]

# Extra: the distribution without which nothing of it works. `pyproject.toml` lists the same extras.
EXTRAS = {
    "digits": "scikit-learn",
    "images": "pillow",
    "networkx": "networkx",
    "onnx": "onnxruntime",
    "plot": "matplotlib",
    "postgresql": "psycopg",
}


@contextmanager
def needs(extra: str, user: str) -> Iterator[None]:
    """A block of imports whose failure names the extra to install.

    Args:
        extra: One of `EXTRAS`.
        user: What needs it, as the message's first words.

    Raises:
        InputError: If an import in the block fails.
    """
    try:
        yield
    except ImportError as error:
        raise InputError(f"{user} needs {EXTRAS[extra]}: pip install 'autokd[{extra}]'.") from error
