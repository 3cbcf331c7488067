"""Files as they are sent: streamed, to be saved under a name."""

import os
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path

from starlette.responses import StreamingResponse

__all__ = ["opened", "sent"]

CHUNK_BYTES = 2**18


def opened(path: Path) -> BufferedReader | None:
    """The file, open so that it stays the one that it is now; None if there is none, or it is a link."""
    try:
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")
    except OSError:
        return None


def sent(
    file: BufferedReader, name: str, media_type: str, headers: Mapping[str, str] | None = None
) -> StreamingResponse:
    """A response that sends an open file from its place on, and closes it.

    Args:
        file: The file.
        name: The name to save it as.
        media_type: What it is.
        headers: Further headers.
    """
    named = {"Content-Disposition": f'attachment; filename="{name}"', **(headers or {})}
    return StreamingResponse(_chunks(file), headers=named, media_type=media_type)


def _chunks(file: BufferedReader) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
