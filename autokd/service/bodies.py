"""Bodies of requests: read whole, within limits of size and time, before a route sees them."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autokd.service.refusals import refuse

__all__ = ["LARGEST_BYTES", "BodyLimits"]

LARGEST_BYTES = 2**18  # a search.toml that lists a thousand files has about 50 kB
LONGEST_SECONDS = 10.0


class BodyLimits:
    """Refuses a body that is too large, or that comes too slowly.

    Args:
        app: What gets the others.
        seconds: Time in which a body must have come.
    """

    def __init__(self, app: ASGIApp, seconds: float = LONGEST_SECONDS) -> None:
        self._app, self._seconds = app, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        try:
            async with asyncio.timeout(self._seconds):
                body = await _read(scope, receive)
        except TimeoutError:
            await refuse(408, f"the body must come within {self._seconds:g} s")(scope, receive, send)
        except ValueError:
            await refuse(413, f"a body must have at most {LARGEST_BYTES:,} bytes")(scope, receive, send)
        else:
            await self._app(scope, _replayed(body, receive), send)


async def _read(scope: Scope, receive: Receive) -> bytes:
    length = Headers(scope=scope).get("content-length", "0")
    if not length.isdecimal() or int(length) > LARGEST_BYTES:
        raise ValueError(length)
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LARGEST_BYTES:
            raise ValueError(len(body))
        if not message.get("more_body", False):  # or the client has left
            return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body in one message, then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message
