"""The audit: one line of JSON for each request that changes something or tried to, in a file that only grows."""

import json
import os
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autokd.service.guard import READING

__all__ = ["Audit", "audit_lines"]

LONGEST_PATH = 300  # characters of a request's path that are kept


class Audit:
    """Records each request with a method that changes something: when, who, what, and how it ended.

    Args:
        app: What answers.
        file: Where lines are appended.
    """

    def __init__(self, app: ASGIApp, file: Path) -> None:
        self._app, self._file = app, file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["method"] in READING:
            await self._app(scope, receive, send)
            return
        status = 500

        async def send_and_see(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, send_and_see)
        finally:
            try:
                self._record(scope, status)
            except OSError as error:  # the request is done
                print(f"the audit {self._file} cannot be written: {error.strerror}", file=sys.stderr)

    def _record(self, scope: Scope, status: int) -> None:
        caller = scope.get("state", {}).get("caller")
        line = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "token": caller and caller.name,
            "role": caller and caller.role,
            "peer": (scope.get("client") or [None])[0],
            "method": scope["method"],
            "path": scope["path"][:LONGEST_PATH],
            "status": status,
        }
        self._file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            is_cut = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"  # its last line, by a full disk
            os.write(descriptor, b"\n" * is_cut + json.dumps(line).encode() + b"\n")  # at once, so lines never mix
        finally:
            os.close(descriptor)


def audit_lines(file: Path, n: int) -> list[dict[str, Any]]:
    """The last `n` lines of an audit, the newest last, but for those that a full disk cut short."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found = list[dict[str, Any]]()
    for line in lines[-n:]:
        with suppress(ValueError):
            found.append(json.loads(line))
    return found
